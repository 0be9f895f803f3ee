// How long runs take, and what all verbs that run something print.
#pragma once

#include "dca_run.h"
#include "output.h"

namespace dca_run {

class Times {
 public:
  Times() = default;
  Times(const Times &) = delete;
  Times &operator=(const Times &) = delete;
  ~Times();

  // Each returns kDone or has complained.
  int reserve(size_t count);
  // Runs `n` images and keeps the time, if there is room left for it.
  int time_run(const Options &options, const Network &network, const uint8_t *images, size_t n,
               float *logits);

  size_t count() const { return count_; }
  // Microseconds; the nearest rank, 0 the least, 100 the greatest. Sorts.
  double percentile(double percent);

 private:
  uint64_t *ns_ = nullptr;
  size_t count_ = 0, room_ = 0;
};

// engine, isa, profile, threads, batch, and the most memory that container and session hold.
void print_settings(const Network &network, Output *output);

}  // namespace dca_run
