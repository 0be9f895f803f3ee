// Every fully connected kernel of every instruction set that is here, against the plain sum.
//   fc_check SEED NUM_CASES
// Prints a line and ends with 1 at the first difference.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/cpu.h"
#include "core/pool.h"
#include "kernels/kernels.h"

namespace sigdca {

#if defined(__x86_64__)
namespace sse42 {
extern const FcKernel *const fc_kernels[];
}
namespace avx2 {
extern const FcKernel *const fc_kernels[];
}
namespace avx512 {
extern const FcKernel *const fc_kernels[];
}
namespace amx {
extern const FcKernel *const fc_kernels[];
}
#else
namespace neon {
extern const FcKernel *const fc_kernels[];
}
#endif

}  // namespace sigdca

using namespace sigdca;

namespace {

struct Isa {
  const char *name;
  const FcKernel *const *kernels;
  bool CpuFeatures::*needs;
};

const Isa kIsas[] = {
#if defined(__x86_64__)
    {"sse4.2", sse42::fc_kernels, &CpuFeatures::sse42},
    {"avx2", avx2::fc_kernels, &CpuFeatures::avx2_fma},
    {"avx512", avx512::fc_kernels, &CpuFeatures::avx512},
    {"amx", amx::fc_kernels, &CpuFeatures::amx},
#else
    {"neon", neon::fc_kernels, &CpuFeatures::neon},
#endif
};

uint64_t state;

uint32_t random_below(uint32_t end) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>((state >> 33) % end);
}

float random_value() { return static_cast<float>(random_below(65537)) / 32768 - 1; }

[[noreturn]] void stop(const char *what) {
  printf("%s\n", what);
  exit(1);
}

void must(sigdca_status status, const sigdca_error &error) {
  if (status != SIGDCA_OK) stop(error.message);
}

struct Case {
  uint32_t rows, cols, centroids;  // 0: raw
  double density;
  uint32_t max_batch, n, threads;
  double zeros;  // of the inputs
  bool negative, hostile;
};

Case random_case(uint32_t number) {
  Case c{};
  static const uint32_t kSizes[] = {1, 2, 3, 7, 10, 16, 17, 33, 64, 100, 129, 300, 500};
  static const uint32_t kCentroids[] = {0, 1, 3, 15, 16, 17, 31, 32, 33, 64, 200, 256, 257, 3000};
  static const double kDensities[] = {0, 0.001, 0.02, 0.08, 0.3, 1};
  static const uint32_t kBatches[] = {1, 1, 1, 2, 3, 5, 16, 33, 64, 100};
  c.rows = kSizes[random_below(13)], c.cols = kSizes[random_below(13)] + random_below(40);
  c.centroids = kCentroids[random_below(14)];
  c.density = kDensities[random_below(6)];
  c.max_batch = kBatches[random_below(10)];
  c.n = 1 + random_below(c.max_batch);
  c.threads = 1 + random_below(3);
  c.zeros = random_below(3) * 0.4;
  c.negative = random_below(2) == 0;
  c.hostile = random_below(8) == 0;
  switch (number) {  // the large ones, once each
    case 0: c = {1, 1, 0, 1, 1, 1, 1, 0, false, false}; break;
    case 1: c = {3, 70000, 16, 0.01, 1, 1, 2, 0.5, true, false}; break;
    case 2: c = {5000, 40, 32, 0.1, 1, 1, 1, 0, true, false}; break;
    case 3: c = {2, 70000, 65536, 0.6, 3, 2, 1, 0, true, false}; break;
    case 4: c = {70000, 3, 20, 0.3, 1, 1, 1, 0, true, false}; break;
    case 5: c = {20, 6000, 30, 0.05, 256, 256, 2, 0.3, false, false}; break;
    case 6: c = {40, 70000, 0, 0.02, 17, 17, 3, 0.3, false, false}; break;
    case 7: c = {600, 900, 16, 0.1, 1, 1, 1, 0.8, false, false}; break;
    case 8: c = {600, 700, 16, 0.3, 64, 1, 1, 0.8, false, false}; break;
    default: break;
  }
  return c;
}

void fill_weights(const Context &context, const sigdca_error &error, const Case &c,
                  Weights *weights) {
  weights->rows = c.rows, weights->cols = c.cols;
  const size_t cells = size_t{c.rows} * c.cols;
  Array<uint8_t> used;
  must(used.allocate(context, cells), error);
  size_t count = 0;
  const uint32_t limit = static_cast<uint32_t>(c.density * 1000000);
  for (size_t i = 0; i < cells; ++i) count += used[i] = random_below(1000000) < limit;
  if (c.centroids != 0) {
    must(weights->codebook.allocate(context, c.centroids), error);
    for (float &value : weights->codebook)
      value = random_value() + (random_below(2) == 0 ? 1.5f : -1.5f);
    if (c.hostile) weights->codebook[random_below(c.centroids)] = 3e38f;
    must(weights->codes.allocate(context, count), error);
    for (uint16_t &code : weights->codes) code = static_cast<uint16_t>(random_below(c.centroids));
  } else {
    must(weights->values.allocate(context, count), error);
    for (float &value : weights->values) value = random_value() + 2;
  }
  must(weights->columns.allocate(context, count), error);
  must(weights->row_start.allocate(context, size_t{c.rows} + 1), error);
  uint64_t at = 0;
  for (uint32_t row = 0; row < c.rows; ++row) {
    weights->row_start[row] = at;
    for (uint32_t col = 0; col < c.cols; ++col)
      if (used[size_t{row} * c.cols + col]) weights->columns[at++] = col;
  }
  weights->row_start[c.rows] = at;
}

// Memory that ends where nobody may read or write.
class Guarded {
 public:
  explicit Guarded(size_t bytes) {
    const size_t page = 4096, pages = (bytes + page - 1) / page;
    bytes_ = (pages + 1) * page;
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, kFlags, -1, 0);
    if (memory == MAP_FAILED) stop("no memory");
    memory_ = static_cast<uint8_t *>(memory);
    if (mprotect(memory_ + pages * page, page, PROT_NONE) != 0) stop("mprotect");
    data_ = memory_ + pages * page - bytes;
  }
  Guarded(const Guarded &) = delete;
  ~Guarded() { munmap(memory_, bytes_); }
  template <class T>
  T *get() const {
    return reinterpret_cast<T *>(data_);
  }

 private:
  uint8_t *memory_ = nullptr, *data_ = nullptr;
  size_t bytes_ = 0;
};

struct Call {
  const FcKernel *kernel;
  const PreparedLayer *layer;
  const float *input;
  size_t n;
  float *output;
  void *scratch;
  const uint8_t *pixels;  // instead of the input; or null
};

constexpr float kPixelScale = 0.0123f;

void call_one(void *argument, const Team &team) {
  const Call &call = *static_cast<const Call *>(argument);
  if (call.pixels != nullptr)
    return call.kernel->run_pixels(call.layer, team, call.pixels, kPixelScale, call.n, call.output,
                                   call.scratch);
  call.kernel->run(call.layer, team, call.input, call.n, call.output, call.scratch);
}

class Checker {
 public:
  Checker(const Context &context, const sigdca_error &error) : context_(context), error_(error) {}

  // Runs one case with all kernels.
  void check(uint32_t number) {
    case_ = random_case(number);
    weights_ = Weights();
    fill_weights(context_, error_, case_, &weights_);
    Array<float> scale, shift;
    must(scale.allocate(context_, case_.rows), error_);
    must(shift.allocate(context_, case_.rows), error_);
    for (float &value : scale) value = random_value() + 2;
    for (float &value : shift) value = random_value();
    const uint32_t kind = random_below(3);
    epilogue_ = {kind == 0 ? scale.data() : nullptr, kind <= 1 ? shift.data() : nullptr,
                 kind == 2 ? -INFINITY : 0, kind == 1 ? 6 : INFINITY};
    make_input();
    make_expected();
    CpuFeatures cpu = detect_cpu();
    cpu.amx = cpu.amx && allow_amx();
    if (random_below(3) == 0) cpu.avx512_vnni = cpu.avx512_vbmi = false;
    for (const Isa &isa : kIsas) {
      if (!(cpu.*isa.needs)) continue;
      for (const FcKernel *const *kernel = isa.kernels; *kernel != nullptr; ++kernel)
        for (int profile = 0; profile < 3; ++profile) {
          LayerRequest request{static_cast<sigdca_profile>(profile), cpu, case_.max_batch,
                               case_.threads};
          where_ = isa.name;
          check_kernel(**kernel, request);
        }
    }
  }

 private:
  void make_input() {
    must(input_.allocate(context_, size_t{case_.n} * case_.cols), error_);
    for (float &value : input_) {
      value = random_value();
      if (!case_.negative) value = fabsf(value);
      if (random_below(1000) < case_.zeros * 1000) value = 0;
      value = value + 0.0f;
      if (case_.hostile && random_below(10) == 0)
        value = random_below(2) == 0 ? INFINITY : 3e38f;
    }
    must(pixels_.allocate(context_, size_t{case_.n} * case_.cols), error_);
    for (uint8_t &pixel : pixels_)
      pixel = random_below(1000) < case_.zeros * 1000 ? 0 : static_cast<uint8_t>(random_below(256));
  }

  float finish(uint32_t row, float sum) const {
    if (epilogue_.scale != nullptr) sum = sum * epilogue_.scale[row];
    if (epilogue_.shift != nullptr) sum = sum + epilogue_.shift[row];
    sum = epilogue_.low > sum ? epilogue_.low : sum;
    return epilogue_.high < sum ? epilogue_.high : sum;
  }

  void make_expected() {
    const size_t values = size_t{case_.n} * case_.rows;
    must(expected_.allocate(context_, values), error_);
    must(expected_int8_.allocate(context_, values), error_);
    must(expected_pixels_.allocate(context_, values), error_);
    must(bound_.allocate(context_, values), error_);
    for (uint32_t image = 0; image < case_.n; ++image)
      for (uint32_t row = 0; row < case_.rows; ++row) {
        const float *from = input_.data() + size_t{image} * case_.cols;
        const uint64_t begin = weights_.row_start[row], end = weights_.row_start[row + 1];
        float sum = 0, size = 0, most_x = 0, most_w = 0;
        for (uint32_t col = 0; col < case_.cols; ++col) most_x = fmaxf(most_x, fabsf(from[col]));
        for (uint64_t i = begin; i < end; ++i) {
          const float x = from[weights_.columns[i]], w = weights_.value(i);
          sum = sum + w * x;
          size += fabsf(w * x);
          most_w = fmaxf(most_w, fabsf(w));
        }
        const float factor = 127 / most_x, scale = most_w / 127;
        const uint8_t *pixels = pixels_.data() + size_t{image} * case_.cols;
        int32_t whole = 0, whole_pixels = 0;
        for (uint64_t i = begin; i < end; ++i) {
          const int32_t weight = static_cast<int32_t>(lrintf(weights_.value(i) / scale));
          whole_pixels += weight * pixels[weights_.columns[i]];
          if (case_.hostile || most_x == 0) continue;
          whole += weight * static_cast<int32_t>(lrintf(from[weights_.columns[i]] * factor));
        }
        const size_t at = size_t{image} * case_.rows + row;
        expected_pixels_[at] =
            finish(row, static_cast<float>(whole_pixels) * (kPixelScale * scale));
        expected_[at] = finish(row, sum);
        expected_int8_[at] = finish(row, static_cast<float>(whole) * (most_x / 127 * scale));
        bound_[at] = 1e-5f * size * (epilogue_.scale == nullptr ? 1 : epilogue_.scale[row]) + 1e-5f;
      }
  }

  void check_kernel(const FcKernel &kernel, const LayerRequest &request) {
    if (kernel.cost_ns(request, weights_) < 0) return;
    PreparedLayer *layer = nullptr;
    must(kernel.prepare(context_, request, weights_, epilogue_, &layer), error_);
    for (uint32_t team = 1; team <= request.threads; team += 2) {
      const size_t values = size_t{case_.n} * case_.rows;
      const Guarded input(input_.bytes()), output(values * sizeof(float));
      const size_t scratch_bytes = (kernel.scratch_bytes(layer, team) + 63) / 64 * 64;
      const Guarded scratch(scratch_bytes);
      memcpy(input.get<float>(), input_.data(), input_.bytes());
      memset(scratch.get<uint8_t>(), 0x7f, scratch_bytes);
      memset(output.get<float>(), 0xff, values * sizeof(float));
      Call call{&kernel,        layer, input.get<float>(), case_.n, output.get<float>(),
                scratch.get<void>(), nullptr};
      run(&call, team);
      const bool is_int8 = strstr(kernel.name, "int8") != nullptr;
      const bool exact = is_int8 || request.profile == SIGDCA_PROFILE_EXACT;
      if (!case_.hostile)
        compare(kernel, request, is_int8 ? expected_int8_ : expected_, exact, output.get<float>());
      if (kernel.run_pixels == nullptr) continue;
      const Guarded pixels(pixels_.bytes());
      memcpy(pixels.get<uint8_t>(), pixels_.data(), pixels_.bytes());
      memset(output.get<float>(), 0xff, values * sizeof(float));
      call.pixels = pixels.get<uint8_t>();
      run(&call, team);
      compare(kernel, request, expected_pixels_, true, output.get<float>());
    }
    kernel.release(context_, layer);
  }

  void run(Call *call, uint32_t size);

  void compare(const FcKernel &kernel, const LayerRequest &request, const Array<float> &all,
               bool exact, const float *output) {
    for (size_t i = 0; i < all.size(); ++i) {
      const float expected = all[i];
      if (exact ? memcmp(&output[i], &expected, sizeof(float)) == 0
                : fabsf(output[i] - expected) <= bound_[i])
        continue;
      printf("%s %s profile %d, %u x %u, %u centroids, density %g, batch %u of %u, threads %u: "
             "value %zu is %.9g, not %.9g\n",
             where_, kernel.name, static_cast<int>(request.profile), case_.rows, case_.cols,
             case_.centroids, case_.density, case_.n, case_.max_batch, case_.threads, i,
             static_cast<double>(output[i]), static_cast<double>(expected));
      exit(1);
    }
  }

  const Context &context_;
  const sigdca_error &error_;
  const char *where_ = "";
  Case case_{};
  Weights weights_;
  Epilogue epilogue_{};
  Array<float> input_, expected_, expected_int8_, expected_pixels_, bound_;
  Array<uint8_t> pixels_;
};

void Checker::run(Call *call, uint32_t size) {
  if (size == 1) return call_one(call, Team());
  Pool *pool = nullptr;
  must(open_pool(context_, size, &pool), error_);
  run_on(pool, call_one, call);
  close_pool(pool);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) stop("usage: fc_check SEED NUM_CASES");
  sigdca_error error{};
  const Context context{default_allocator(), &error};
  state = strtoull(argv[1], nullptr, 10);
  const uint32_t cases = static_cast<uint32_t>(strtoul(argv[2], nullptr, 10));
  Checker checker(context, error);
  for (uint32_t number = 0; number < cases; ++number) checker.check(number);
  printf("%u cases\n", cases);
  return 0;
}
