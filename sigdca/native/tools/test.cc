#include <stdlib.h>

#include "arrays.h"
#include "dca_run.h"
#include "output.h"
#include "sha256.h"
#include "timing.h"

namespace dca_run {
namespace {

// Numpy's argmax: the first of the largest.
size_t argmax(const float *values, size_t count) {
  size_t best = 0;
  for (size_t i = 1; i < count; ++i)
    if (values[i] > values[best]) best = i;
  return best;
}

class Test {
 public:
  explicit Test(const Options &options) : options_(options) {}
  Test(const Test &) = delete;
  Test &operator=(const Test &) = delete;
  ~Test() { free(logits_); }

  int open() {
    int code = network_.open(options_);
    if (code == kDone) code = images_.open(options_.images);
    if (code == kDone) code = images_.check_images(network_.info);
    if (code != kDone) return code;
    num_ = options_.num == 0 ? images_.count() : options_.num;
    if (num_ > images_.count())
      return complain(kBadInput, "--num: must be at most %llu, as many as %s holds, got %llu",
                      static_cast<unsigned long long>(images_.count()), options_.images,
                      static_cast<unsigned long long>(num_));
    if (options_.labels != nullptr) {
      code = labels_.open(options_.labels);
      if (code == kDone)
        code = labels_.check_labels(images_.count(), num_, network_.info.num_classes);
      if (code != kDone) return code;
    }
    code = network_.create_session(options_);
    if (code == kDone && options_.logits != nullptr)
      code = npy_.open(options_.logits, num_, network_.info.num_classes);
    return code;
  }

  // The logits of one share after the other: a share's memory is all that is held.
  int run() {
    const size_t classes = network_.info.num_classes;
    const size_t batch = options_.session.max_batch;
    const size_t share = batch * (classes > 65536 ? 1 : 1 + 255 / batch);
    logits_ = static_cast<float *>(calloc(share * classes, sizeof(float)));
    if (logits_ == nullptr)
      return complain(kFault, "memory: no %zu bytes left", share * classes * sizeof(float));
    const uint64_t start = now_ns();
    for (uint64_t first = 0; first < num_; first += share) {
      const size_t n = num_ - first < share ? static_cast<size_t>(num_ - first) : share;
      sigdca_error error{};
      if (sigdca_session_run(network_.session, images_.data() + first * network_.image_bytes, n,
                             logits_, &error) != SIGDCA_OK)
        return complain_of(options_.file, error);
      if (options_.labels != nullptr)
        for (size_t i = 0; i < n; ++i)
          correct_ += static_cast<int64_t>(argmax(logits_ + i * classes, classes)) ==
                      labels_.label(first + i);
      sha256_.update(logits_, n * classes * sizeof(float));
      if (options_.logits != nullptr) {
        const int code = npy_.write(logits_, n * classes);
        if (code != kDone) return code;
      }
    }
    ns_ = now_ns() - start;
    const int code = options_.logits != nullptr ? npy_.finish() : kDone;
    return code != kDone || !options_.times ? code : measure();
  }

  void print() {
    char hash[65];
    sha256_.finish(hash);
    Output output(options_.json);
    output.text("file", options_.file);
    output.number("num_samples", num_);
    if (options_.labels != nullptr) {
      const double percent = 100 / static_cast<double>(num_);
      output.real("accuracy", percent * static_cast<double>(correct_), 6);
      output.real("error", percent * static_cast<double>(num_ - correct_), 6);
      output.number("num_correct", correct_);
    }
    output.text("logits_sha256", hash);
    print_settings(network_, &output);
    if (options_.times) {
      output.real("duration_s", static_cast<double>(ns_) * 1e-9, 6);
      output.real("images_per_s", static_cast<double>(num_) / (static_cast<double>(ns_) * 1e-9),
                  3);
      output.real("latency_us", latency_us_, 3);
    }
    output.end();
  }

 private:
  // The median of one image alone: 200 calls, or what fits into a second.
  int measure() {
    Times times;
    int code = times.reserve(200);
    const uint64_t start = now_ns();
    while (code == kDone && times.count() < 200) {
      code = times.time_run(options_, network_, images_.data(), 1, logits_);
      if (now_ns() - start > 1000000000) break;
    }
    if (code == kDone) latency_us_ = times.percentile(50);
    return code;
  }

  const Options &options_;
  Network network_;
  ArrayFile images_, labels_;
  NpyWriter npy_;
  Sha256 sha256_;
  float *logits_ = nullptr;
  uint64_t num_ = 0, correct_ = 0, ns_ = 0;
  double latency_us_ = 0;
};

}  // namespace

int run_test(const Options &options) {
  Test test(options);
  int code = test.open();
  if (code == kDone) code = test.run();
  if (code == kDone) test.print();
  return code;
}

}  // namespace dca_run
