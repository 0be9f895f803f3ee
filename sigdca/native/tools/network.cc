#include <errno.h>
#include <string.h>

#include "dca_run.h"

namespace dca_run {

int complain_of(const char *where, const sigdca_error &error) {
  const bool fault =
      error.status == SIGDCA_OUT_OF_MEMORY || error.status == SIGDCA_NOT_FINITE;
  return complain(fault ? kFault : kBadInput, "%s: %s (%s)", where, error.message,
                  sigdca_status_name(error.status));
}

const char *profile_name(sigdca_profile profile) {
  switch (profile) {
    case SIGDCA_PROFILE_EXACT: return "exact";
    case SIGDCA_PROFILE_FAST: return "fast";
    case SIGDCA_PROFILE_INT8: return "int8";
  }
  return "";
}

Network::~Network() {
  sigdca_session_close(session);
  sigdca_model_close(model);
}

int Network::open(const Options &options) {
  sigdca_error error{};
  if (sigdca_model_open_file(options.file, nullptr, &model, &error) != SIGDCA_OK)
    return complain_of(options.file, error);
  sigdca_model_get_info(model, &info);
  image_bytes = size_t{info.input_channels} * info.input_height * info.input_width;
  return kDone;
}

int Network::create_session(const Options &options) {
  sigdca_error error{};
  if (sigdca_session_create(model, &options.session, &session, &error) != SIGDCA_OK)
    return complain_of(options.file, error);
  sigdca_session_get_info(session, &session_info);
  return kDone;
}

}  // namespace dca_run
