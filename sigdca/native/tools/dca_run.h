// dca-run: what a target without Python runs. Knows of the library what sigdca.h says, no more.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "sigdca.h"

namespace dca_run {

enum ExitCode { kDone = 0, kBadInput = 2, kFault = 3 };

struct Options {
  const char *file = nullptr;
  const char *images = nullptr;
  const char *labels = nullptr;
  const char *logits = nullptr;
  sigdca_session_options session{SIGDCA_PROFILE_EXACT, 1, 1, nullptr};
  uint64_t num = 0;  // 0: all images
  uint64_t warm_up = 20;
  uint64_t runs = 200;
  double seconds = 0;  // 0: as many as `runs` says
  bool json = false;
  bool times = true;  // false under an emulator, where they mean nothing
};

int run_info(const Options &options);
int run_test(const Options &options);
int run_bench(const Options &options);

// Writes one line, "dca-run: " before it, to standard error and returns `code`.
int complain(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The same for a call of the library that failed; `where` is the container.
int complain_of(const char *where, const sigdca_error &error);

// CLOCK_MONOTONIC.
uint64_t now_ns();

// When the process started: now_ns() of its parent if the environment variable DCA_RUN_START_NS
// says so, else of main's first line.
extern uint64_t start_ns;
extern bool start_is_parents;

const char *profile_name(sigdca_profile profile);

// Closes what it opened.
class Network {
 public:
  Network() = default;
  Network(const Network &) = delete;
  Network &operator=(const Network &) = delete;
  ~Network();

  // Each returns kDone or has complained.
  int open(const Options &options);
  int create_session(const Options &options);

  sigdca_model *model = nullptr;
  sigdca_session *session = nullptr;
  sigdca_model_info info{};
  sigdca_session_info session_info{};
  size_t image_bytes = 0;
};

}  // namespace dca_run
