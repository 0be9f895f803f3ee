// Checks the convolutions with 8-bit numbers, or with split ones, against plain sums, on random
// layers.
//
//   conv_int8_check ISA SEED LAYERS [THREADS]
//
// Inputs, outputs and scratch memory lie between pages that nobody may touch. Prints a hash of all
// results; of 8-bit numbers, it must not depend on instruction set or number of threads.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/cpu.h"
#include "core/pool.h"
#include "kernels/kernels.h"

#include "conv_int8_plain.h"

namespace sigdca {

#if defined(__x86_64__)
namespace sse42 {
extern const ConvKernel int8_conv, int8_winograd_conv;
}
namespace avx2 {
extern const ConvKernel int8_conv, int8_winograd_conv;
}
namespace avx512 {
extern const ConvKernel int8_conv, int8_winograd_conv, int8_vnni_conv;
}
namespace amx {
extern const ConvKernel int8_conv, bf16_conv;
}
#else
namespace neon {
extern const ConvKernel int8_conv;
}
#endif

namespace {

struct Isa {
  const char *name;
  const ConvKernel *kernel;
  bool CpuFeatures::*needs;
};

const Isa kIsas[] = {
#if defined(__x86_64__)
    {"sse42", &sse42::int8_conv, &CpuFeatures::sse42},
    {"sse42-winograd", &sse42::int8_winograd_conv, &CpuFeatures::sse42},
    {"avx2", &avx2::int8_conv, &CpuFeatures::avx2_fma},
    {"avx2-winograd", &avx2::int8_winograd_conv, &CpuFeatures::avx2_fma},
    {"avx512", &avx512::int8_conv, &CpuFeatures::avx512},
    {"avx512-winograd", &avx512::int8_winograd_conv, &CpuFeatures::avx512},
    {"avx512-vnni", &avx512::int8_vnni_conv, &CpuFeatures::avx512_vnni},
    {"amx", &amx::int8_conv, &CpuFeatures::amx},
    {"amx-bf16x3", &amx::bf16_conv, &CpuFeatures::amx},
#else
    {"neon", &neon::int8_conv, &CpuFeatures::neon},
#endif
};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435761u + 1) {}
  uint32_t below(uint32_t limit) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>((state_ >> 33) % limit);
  }
  uint32_t from_to(uint32_t first, uint32_t last) { return first + below(last - first + 1); }
  float value() { return static_cast<float>(static_cast<int32_t>(below(200001)) - 100000) / 30000; }

 private:
  uint64_t state_;
};

// Memory with a forbidden page before and behind it; what it holds ends (or begins) at one.
class Guarded {
 public:
  Guarded(size_t bytes, bool at_end) : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    size_ = (bytes + page_ - 1) / page_ * page_ + 2 * page_;
    memory_ = static_cast<uint8_t *>(
        mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory_ + page_, size_ - 2 * page_, PROT_READ | PROT_WRITE);
    data_ = at_end ? memory_ + size_ - page_ - bytes : memory_ + page_;
  }
  ~Guarded() { munmap(memory_, size_); }
  Guarded(const Guarded &) = delete;
  Guarded &operator=(const Guarded &) = delete;
  void *data() const { return data_; }
  float *floats() const { return reinterpret_cast<float *>(data_); }

 private:
  size_t page_, size_;
  uint8_t *memory_, *data_;
};

uint32_t outputs(uint32_t input, const Window &window, int axis) {
  const int64_t span = int64_t{window.kernel[axis] - 1} * window.dilation[axis] + 1;
  const int64_t room = int64_t{input} + 2 * window.padding[axis] - span;
  return room < 0 ? 0 : static_cast<uint32_t>(room / window.stride[axis] + 1);
}

// winograd: what its kernels can do.
Case random_case(Random &random, bool winograd) {
  for (;;) {
    Case made;
    ConvShape &shape = made.shape;
    static const uint32_t kGroups[] = {1, 1, 1, 2, 3};
    shape.groups = kGroups[random.below(5)];
    const uint32_t most = random.below(4) == 0 ? 70 : 20;
    shape.input.channels = shape.groups * random.from_to(1, most);
    shape.output.channels = shape.groups * random.from_to(1, random.below(4) == 0 ? 80 : 20);
    if (random.below(8) == 0)  // one channel a group
      shape.groups = shape.output.channels = shape.input.channels = random.from_to(1, 9);
    shape.input.height = random.from_to(1, 20);
    shape.input.width = random.from_to(1, random.below(4) == 0 ? 130 : 40);
    for (int i = 0; i < 2; ++i) {
      shape.window.kernel[i] = winograd ? 3 : random.from_to(1, 6);
      shape.window.stride[i] = winograd || random.below(2) == 0 ? 1 : random.from_to(1, 4);
      shape.window.padding[i] = random.from_to(0, 3);
      shape.window.dilation[i] = winograd || random.below(4) != 0 ? 1 : random.from_to(1, 3);
    }
    if (winograd) shape.groups = 1;
    shape.output.height = outputs(shape.input.height, shape.window, 0);
    shape.output.width = outputs(shape.input.width, shape.window, 1);
    made.density = static_cast<float>(random.from_to(0, 4)) / 4;
    made.has_scale = random.below(2) == 0, made.has_shift = random.below(2) == 0;
    made.low = random.below(2) == 0 ? 0 : -INFINITY;
    made.high = random.below(4) == 0 ? 6 : INFINITY;
    made.signs = random.below(2) == 0;
    made.special = random.below(4) == 0 ? static_cast<int>(random.from_to(1, 6)) : 0;
    if (shape.output.height != 0 && shape.output.width != 0) return made;
  }
}

sigdca_status random_weights(const Context &context, Random &random, const Case &made,
                             Weights *weights) {
  const ConvShape &shape = made.shape;
  weights->rows = shape.output.channels;
  weights->cols =
      shape.input.channels / shape.groups * shape.window.kernel[0] * shape.window.kernel[1];
  const size_t most = size_t{weights->rows} * weights->cols;
  Array<float> dense;
  SIGDCA_TRY(dense.allocate(context, most));
  size_t count = 0;
  for (float &value : dense) {
    const bool keep = static_cast<float>(random.below(1000)) < made.density * 1000;
    value = keep ? random.value() : 0;
    count += value != 0;
  }
  SIGDCA_TRY(weights->values.allocate(context, count));
  SIGDCA_TRY(weights->columns.allocate(context, count));
  SIGDCA_TRY(weights->row_start.allocate(context, weights->rows + size_t{1}));
  size_t place = 0;
  for (size_t i = 0; i < most; ++i) {
    if (i % weights->cols == 0) weights->row_start[i / weights->cols] = place;
    if (dense[i] == 0) continue;
    weights->columns[place] = static_cast<uint32_t>(i % weights->cols);
    weights->values[place++] = dense[i];
  }
  weights->row_start[weights->rows] = place;
  return SIGDCA_OK;
}

void random_input(Random &random, const Case &made, float *input) {
  const size_t count = made.shape.input.values();
  for (size_t i = 0; i < count; ++i) {
    float value = random.value();
    if (!made.signs) value = value < 0 ? 0 : value;
    if (made.special == 1) value = 0;
    if (made.special == 4) value *= 1e-37f;
    if (made.special == 5) value *= 1e38f;
    if (made.special == 6) value = -fabsf(value);
    input[i] = value;
  }
  if (made.special == 2) input[random.below(static_cast<uint32_t>(count))] = -INFINITY;
  if (made.special == 3) input[random.below(static_cast<uint32_t>(count))] = NAN;
}

struct Run {
  const ConvKernel *kernel;
  const PreparedLayer *layer;
  const float *input;
  float *output;
  void *scratch;
};

class Checker {
 public:
  Checker(const Context &context, const Isa &isa, const CpuFeatures &cpu, Pool *pool,
          uint32_t threads)
      : context_(context),
        kernel_(*isa.kernel),
        pool_(pool),
        threads_(threads),
        bytes_(strstr(isa.name, "bf16") == nullptr) {
    request_.profile = bytes_ ? SIGDCA_PROFILE_INT8 : SIGDCA_PROFILE_FAST;
    request_.cpu = cpu;
    request_.max_batch = 1, request_.threads = threads;
  }

  // Whether the layer's results are right.
  bool check(Random &random, const Case &made, bool at_end) {
    Weights weights;
    Array<float> scale, shift, want, slack;
    const ConvShape &shape = made.shape;
    if (random_weights(context_, random, made, &weights) != SIGDCA_OK ||
        scale.allocate(context_, weights.rows) != SIGDCA_OK ||
        shift.allocate(context_, weights.rows) != SIGDCA_OK ||
        want.allocate(context_, shape.output.values()) != SIGDCA_OK ||
        slack.allocate(context_, shape.output.values()) != SIGDCA_OK)
      return false;
    for (float &value : scale) value = random.value();
    for (float &value : shift) value = random.value();
    const Guarded input(shape.input.values() * sizeof(float), at_end);
    const Guarded output(want.bytes(), at_end);
    random_input(random, made, input.floats());
    const Epilogue epilogue{made.has_scale ? scale.data() : nullptr,
                            made.has_shift ? shift.data() : nullptr, made.low, made.high};
    if (Plain(context_, made, weights, epilogue, bytes_)
            .run(input.floats(), want.data(), slack.data()) != SIGDCA_OK)
      return false;
    PreparedLayer *layer = nullptr;
    if (!(kernel_.cost_ns(request_, shape, weights) >= 0) ||
        kernel_.prepare(context_, request_, shape, weights, epilogue, &layer) != SIGDCA_OK)
      return false;
    {
      const Guarded scratch(kernel_.scratch_bytes(layer, threads_), at_end);
      Run run{&kernel_, layer, input.floats(), output.floats(), scratch.data()};
      run_on(pool_, run_part, &run);
    }
    kernel_.release(context_, layer);
    // Not finite or huge, split numbers give other such results.
    const bool any = !bytes_ && (made.special == 2 || made.special == 3 || made.special == 5);
    return any || same(want, slack, output.floats());
  }

  uint64_t hash() const { return hash_; }

 private:
  static void run_part(void *argument, const Team &team) {
    const Run &run = *static_cast<const Run *>(argument);
    run.kernel->run(run.layer, team, run.input, run.output, run.scratch);
  }

  bool same(const Array<float> &want, const Array<float> &slack, const float *got) {
    for (size_t i = 0; i < want.size(); ++i) {
      uint32_t bits = 0;
      memcpy(&bits, got + i, sizeof(bits));
      const bool both_nan = isnan(want[i]) && isnan(got[i]);
      hash_ = (hash_ ^ (both_nan ? 1 : bits)) * 1099511628211u;
      if (both_nan || memcmp(&want[i], got + i, sizeof(float)) == 0) continue;
      if (!bytes_ && fabsf(want[i] - got[i]) <= slack[i] + 1e-6f * fabsf(want[i])) continue;
      fprintf(stderr, "value %zu: %.9g, expected %.9g\n", i, double{got[i]}, double{want[i]});
      return false;
    }
    return true;
  }

  const Context &context_;
  const ConvKernel &kernel_;
  LayerRequest request_{};
  Pool *pool_;
  uint32_t threads_;
  bool bytes_;
  uint64_t hash_ = 14695981039346656037u;
};

void describe(const Case &made) {
  const ConvShape &shape = made.shape;
  const Window &window = shape.window;
  fprintf(stderr,
          "%u x %u x %u to %u, groups %u, kernel %u x %u, stride %u x %u, padding %u x %u, "
          "dilation %u x %u, special %d\n",
          shape.input.channels, shape.input.height, shape.input.width, shape.output.channels,
          shape.groups, window.kernel[0], window.kernel[1], window.stride[0], window.stride[1],
          window.padding[0], window.padding[1], window.dilation[0], window.dilation[1],
          made.special);
}

int run(const Isa &isa, uint64_t seed, int layers, uint32_t threads) {
  const CpuFeatures cpu = detect_cpu();
  if (!(cpu.*isa.needs) || (strncmp(isa.name, "amx", 3) == 0 && !allow_amx())) {
    printf("unavailable\n");
    return 0;
  }
  const Context context{default_allocator(), nullptr};
  Pool *pool = nullptr;
  if (open_pool(context, threads, &pool) != SIGDCA_OK) return 2;
  Checker checker(context, isa, cpu, pool, threads);
  Random random(seed);
  int status = 0;
  for (int i = 0; i < layers && status == 0; ++i) {
    const Case made = random_case(random, strstr(isa.name, "winograd") != nullptr);
    if (checker.check(random, made, i % 2 == 0)) continue;
    fprintf(stderr, "layer %d: ", i);
    describe(made);
    status = 1;
  }
  close_pool(pool);
  printf("%016llx\n", static_cast<unsigned long long>(checker.hash()));
  return status;
}

}  // namespace
}  // namespace sigdca

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  for (const sigdca::Isa &isa : sigdca::kIsas)
    if (strcmp(isa.name, argv[1]) == 0)
      return sigdca::run(isa, strtoull(argv[2], nullptr, 10), atoi(argv[3]),
                         argc > 4 ? static_cast<uint32_t>(atoi(argv[4])) : 1);
  fprintf(stderr, "no instruction set %s\n", argv[1]);
  return 2;
}
