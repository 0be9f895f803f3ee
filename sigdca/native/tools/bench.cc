#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "arrays.h"
#include "dca_run.h"
#include "output.h"
#include "timing.h"

namespace dca_run {
namespace {

constexpr uint64_t kMaxTimes = 1000000;  // kept, of a bench that --seconds ends

// Of resident memory. getrusage would count what the parent held before it became this program.
uint64_t peak_bytes() {
  unsigned long long kilobytes = 0;
  FILE *const file = fopen("/proc/self/status", "re");
  if (file != nullptr) {
    char line[256];
    while (fgets(line, sizeof line, file) != nullptr)
      if (sscanf(line, "VmHWM: %llu", &kilobytes) == 1) break;
    fclose(file);
  }
  if (kilobytes != 0) return uint64_t{kilobytes} * 1024;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

class Bench {
 public:
  explicit Bench(const Options &options) : options_(options) {}
  Bench(const Bench &) = delete;
  Bench &operator=(const Bench &) = delete;
  ~Bench() { free(pixels_), free(logits_); }

  int open() {
    const uint64_t start = now_ns();
    int code = network_.open(options_);
    const uint64_t opened = now_ns();
    if (code == kDone) code = network_.create_session(options_);
    open_ns_ = opened - start, create_ns_ = now_ns() - opened;
    if (code == kDone && options_.images != nullptr) {
      code = images_.open(options_.images);
      if (code == kDone) code = images_.check_images(network_.info);
    }
    return code == kDone ? make_batch() : code;
  }

  int run() {
    Times first;
    int code = first.reserve(1);
    if (code == kDone)
      code = first.time_run(options_, network_, pixels_, options_.session.max_batch, logits_);
    if (code != kDone) return code;
    first_result_ns_ = now_ns() - start_ns;
    first_us_ = first.percentile(50);
    for (uint64_t i = 1; i < options_.warm_up && code == kDone; ++i)
      code = first.time_run(options_, network_, pixels_, options_.session.max_batch, logits_);
    if (code == kDone) code = times_.reserve(options_.seconds > 0 ? kMaxTimes : options_.runs);
    const uint64_t start = now_ns();
    while (code == kDone && !done(start))
      code = times_.time_run(options_, network_, pixels_, options_.session.max_batch, logits_);
    return code;
  }

  void print() {
    Output output(options_.json);
    output.text("file", options_.file);
    print_settings(network_, &output);
    output.number("runs", times_.count());
    if (options_.times) print_times(&output);
    output.number("weight_bytes", network_.session_info.weight_bytes);
    output.number("activation_bytes", network_.session_info.activation_bytes);
    output.begin_list("layers");
    sigdca_layer_info layer{};
    for (uint32_t i = 0; sigdca_session_get_layer(network_.session, i, &layer) == SIGDCA_OK;
         ++i) {
      output.begin_item();
      output.text("name", layer.name);
      output.text("kernel", layer.kernel);
      output.number("num_nonzero", layer.num_nonzero);
      output.number("weight_bytes", layer.weight_bytes);
      output.end_item();
    }
    output.end_list();
    output.end();
  }

 private:
  // One batch: the first images of the file, over and over, or noise that is the same every time.
  int make_batch() {
    const size_t batch = options_.session.max_batch, bytes = batch * network_.image_bytes;
    pixels_ = static_cast<uint8_t *>(malloc(bytes));
    logits_ = static_cast<float *>(calloc(batch * network_.info.num_classes, sizeof(float)));
    if (pixels_ == nullptr || logits_ == nullptr)
      return complain(kFault, "memory: no room for a batch of %zu images", batch);
    uint32_t noise = 2463534242;
    for (size_t i = 0; images_.data() == nullptr && i < bytes; ++i) {
      noise ^= noise << 13, noise ^= noise >> 17, noise ^= noise << 5;
      pixels_[i] = static_cast<uint8_t>(noise >> 24);
    }
    for (size_t i = 0; images_.data() != nullptr && i < batch; ++i)
      memcpy(pixels_ + i * network_.image_bytes,
             images_.data() + i % images_.count() * network_.image_bytes, network_.image_bytes);
    return kDone;
  }

  bool done(uint64_t start) const {
    if (options_.seconds > 0)
      return times_.count() != 0 &&
             static_cast<double>(now_ns() - start) * 1e-9 >= options_.seconds;
    return times_.count() == options_.runs;
  }

  void print_times(Output *output) {
    const double median = times_.percentile(50);
    output->real("p50_us", median, 3);
    output->real("p90_us", times_.percentile(90), 3);
    output->real("p99_us", times_.percentile(99), 3);
    output->real("min_us", times_.percentile(0), 3);
    output->real("max_us", times_.percentile(100), 3);
    output->real("images_per_s", median > 0 ? 1e6 * options_.session.max_batch / median : 0, 3);
    output->real("open_us", static_cast<double>(open_ns_) * 1e-3, 3);
    output->real("create_us", static_cast<double>(create_ns_) * 1e-3, 3);
    output->real("first_run_us", first_us_, 3);
    output->real("start_to_first_result_us", static_cast<double>(first_result_ns_) * 1e-3, 3);
    output->flag("start_is_parents", start_is_parents);
    output->number("peak_resident_bytes", peak_bytes());
  }

  const Options &options_;
  Network network_;
  ArrayFile images_;
  Times times_;
  uint8_t *pixels_ = nullptr;
  float *logits_ = nullptr;
  uint64_t open_ns_ = 0, create_ns_ = 0, first_result_ns_ = 0;
  double first_us_ = 0;
};

}  // namespace

int run_bench(const Options &options) {
  Bench bench(options);
  int code = bench.open();
  if (code == kDone) code = bench.run();
  if (code == kDone) bench.print();
  return code;
}

}  // namespace dca_run
