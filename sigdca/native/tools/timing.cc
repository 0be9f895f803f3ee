#include "timing.h"

#include <math.h>
#include <stdlib.h>

namespace dca_run {

Times::~Times() { free(ns_); }

int Times::reserve(size_t count) {
  ns_ = static_cast<uint64_t *>(malloc(count * sizeof(uint64_t)));
  if (ns_ == nullptr)
    return complain(kFault, "memory: no %zu bytes left", count * sizeof(uint64_t));
  room_ = count;
  return kDone;
}

int Times::time_run(const Options &options, const Network &network, const uint8_t *images,
                    size_t n, float *logits) {
  sigdca_error error{};
  const uint64_t start = now_ns();
  const sigdca_status status = sigdca_session_run(network.session, images, n, logits, &error);
  const uint64_t end = now_ns();
  if (status != SIGDCA_OK) return complain_of(options.file, error);
  if (count_ < room_) ns_[count_++] = end - start;
  return kDone;
}

double Times::percentile(double percent) {
  qsort(ns_, count_, sizeof *ns_, [](const void *left, const void *right) {
    const uint64_t a = *static_cast<const uint64_t *>(left);
    const uint64_t b = *static_cast<const uint64_t *>(right);
    return (a > b) - (a < b);
  });
  const double rank = ceil(percent / 100 * static_cast<double>(count_));
  return static_cast<double>(ns_[rank < 1 ? 0 : static_cast<size_t>(rank) - 1]) * 1e-3;
}

void print_settings(const Network &network, Output *output) {
  output->text("engine", "native " DCA_RUN_VERSION);
  output->text("isa", network.session_info.isa);
  output->text("profile", profile_name(network.session_info.profile));
  output->number("threads", network.session_info.threads);
  output->number("batch", network.session_info.max_batch);
  output->number("memory_bytes", network.info.container_bytes + network.info.memory_bytes +
                                     network.session_info.peak_bytes);
}

}  // namespace dca_run
