// Checks the float32 convolutions of one instruction set against plain loops: bit for bit in the exact
// profile, closely in the fast one. Built by test_conv.py with -DCHECK_ISA=avx2 (or sse42, ...).
//
//   conv_check [cases] [seed]     prints what differs; exit status 1 if anything does
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/simd/conv_layer.h"
#include "kernels/kernels.h"

#define TABLE(isa) sigdca::isa::conv_kernels
namespace sigdca::CHECK_ISA {
extern const ConvKernel *const conv_kernels[];
}

namespace {

using namespace sigdca;

uint64_t state = 1;
uint32_t random_below(uint32_t limit) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>((state >> 33) % limit);
}
float random_float() { return static_cast<float>(random_below(2001)) / 1000 - 1; }

struct Case {
  ConvShape shape{};
  Weights weights;
  Array<float> scale, shift, input, expected, output;
  Epilogue epilogue{};
};

// Output size on one axis; 0: the kernel does not fit.
uint32_t output_size(uint32_t input, const Window &window, int axis) {
  const int64_t reach = int64_t{window.dilation[axis]} * (window.kernel[axis] - 1) + 1;
  const int64_t left = int64_t{input} + 2 * window.padding[axis] - reach;
  return left < 0 ? 0 : static_cast<uint32_t>(left / window.stride[axis] + 1);
}

bool make_shape(ConvShape *shape) {
  const uint32_t kind = random_below(8);
  shape->groups = random_below(3) == 0 ? 1 + random_below(4) : 1;
  const uint32_t most = kind == 0 ? 90 : 9;
  shape->input.channels = shape->groups * (1 + random_below(most));
  shape->output.channels = shape->groups * (1 + random_below(kind == 1 ? 90 : 11));
  if (kind == 2) shape->output.channels = shape->input.channels = shape->groups = 1 + random_below(40);
  shape->input.height = 1 + random_below(kind == 3 ? 60 : 20);
  shape->input.width = 1 + random_below(kind == 4 ? 90 : 24);
  const uint32_t kernel = 1 + random_below(kind == 5 ? 13 : 5);
  for (int axis = 0; axis < 2; ++axis) {
    shape->window.kernel[axis] = random_below(4) == 0 ? 1 + random_below(5) : kernel;
    shape->window.stride[axis] = random_below(2) == 0 ? 1 : 1 + random_below(4);
    shape->window.padding[axis] = random_below(5) == 0 ? random_below(30) : random_below(kernel);
    shape->window.dilation[axis] = random_below(4) == 0 ? 1 + random_below(9) : 1;
  }
  if (kind == 6)
    for (int axis = 0; axis < 2; ++axis)
      shape->window.kernel[axis] = shape->window.stride[axis] = 1, shape->window.padding[axis] = 0;
  shape->output.height = output_size(shape->input.height, shape->window, 0);
  shape->output.width = output_size(shape->input.width, shape->window, 1);
  return shape->output.height > 0 && shape->output.width > 0 && shape->output.values() < 60000;
}

void make_weights(const Context &context, uint32_t rows, uint32_t cols, Weights *weights) {
  const uint32_t percent = random_below(5) == 0 ? 100 : random_below(101);
  const uint32_t kind = random_below(4);  // 0: raw, 1: a large codebook
  size_t count = 0;
  Array<uint8_t> there;
  (void)there.allocate(context, size_t{rows} * cols);
  for (uint8_t &one : there) count += one = random_below(100) < percent;
  weights->rows = rows, weights->cols = cols;
  (void)weights->columns.allocate(context, count);
  (void)weights->row_start.allocate(context, rows + 1);
  if (kind != 0) {
    (void)weights->codebook.allocate(context, kind == 1 ? 300 : 1 + random_below(256));
    for (float &value : weights->codebook) do value = random_float(); while (value == 0);
    (void)weights->codes.allocate(context, count);
  } else {
    (void)weights->values.allocate(context, count);
  }
  size_t at = 0;
  for (uint32_t row = 0; row < rows; ++row) {
    weights->row_start[row] = at;
    for (uint32_t col = 0; col < cols; ++col) {
      if (!there[size_t{row} * cols + col]) continue;
      weights->columns[at] = col;
      if (kind != 0)
        weights->codes[at] = static_cast<uint16_t>(random_below(weights->codebook.size()));
      else
        do weights->values[at] = random_float(); while (weights->values[at] == 0);
      ++at;
    }
  }
  weights->row_start[rows] = at;
}

void compute_expected(Case *test) {
  const ConvShape &shape = test->shape;
  const Window &window = shape.window;
  const uint32_t taps = window.kernel[0] * window.kernel[1];
  const uint32_t channels = shape.input.channels / shape.groups;
  size_t at = 0;
  for (uint32_t row = 0; row < shape.output.channels; ++row) {
    const uint32_t group = row / (shape.output.channels / shape.groups);
    for (uint32_t y = 0; y < shape.output.height; ++y)
      for (uint32_t x = 0; x < shape.output.width; ++x) {
        float sum = 0;
        for (size_t i = test->weights.row_start[row]; i < test->weights.row_start[row + 1]; ++i) {
          const uint32_t column = test->weights.columns[i], tap = column % taps;
          const int64_t in_y = int64_t{y} * window.stride[0] - window.padding[0] +
                               int64_t{tap / window.kernel[1]} * window.dilation[0];
          const int64_t in_x = int64_t{x} * window.stride[1] - window.padding[1] +
                               int64_t{tap % window.kernel[1]} * window.dilation[1];
          if (in_y < 0 || in_x < 0 || in_y >= shape.input.height || in_x >= shape.input.width)
            continue;
          const size_t channel = size_t{group} * channels + column / taps;
          const float value =
              test->input[(channel * shape.input.height + in_y) * shape.input.width + in_x];
          const float product = test->weights.value(i) * value;
          sum = sum + product;
        }
        if (test->epilogue.scale != nullptr) sum = sum * test->epilogue.scale[row];
        if (test->epilogue.shift != nullptr) sum = sum + test->epilogue.shift[row];
        if (sum < test->epilogue.low) sum = test->epilogue.low;
        if (sum > test->epilogue.high) sum = test->epilogue.high;
        test->expected[at++] = sum;
      }
  }
}

void make_case(const Context &context, Case *test) {
  while (!make_shape(&test->shape)) {
  }
  const ConvShape &shape = test->shape;
  const uint32_t rows = shape.output.channels;
  make_weights(context, rows,
               shape.input.channels / shape.groups * shape.window.kernel[0] * shape.window.kernel[1],
               &test->weights);
  (void)test->input.allocate(context, shape.input.values());
  (void)test->expected.allocate(context, shape.output.values());
  (void)test->output.allocate(context, shape.output.values());
  (void)test->scale.allocate(context, rows);
  (void)test->shift.allocate(context, rows);
  for (float &value : test->input) value = random_below(3) == 0 ? 0 : random_float();
  for (float &value : test->scale) value = random_float();
  for (float &value : test->shift) value = random_float();
  test->epilogue.scale = random_below(3) == 0 ? test->scale.data() : nullptr;
  test->epilogue.shift = random_below(4) != 0 ? test->shift.data() : nullptr;
  test->epilogue.low = random_below(2) == 0 ? 0 : -INFINITY;
  test->epilogue.high = random_below(4) == 0 ? 1 : INFINITY;
  compute_expected(test);
}

bool is_right(const Case &test, bool exact) {
  float largest = 1e-3f;
  for (float value : test.expected) largest = fabsf(value) > largest ? fabsf(value) : largest;
  for (size_t i = 0; i < test.expected.size(); ++i) {
    const float difference = fabsf(test.output[i] - test.expected[i]);
    if (exact ? difference != 0 : !(difference <= 1e-4f * largest)) {
      printf("value %zu is %.9g, not %.9g\n", i, test.output[i], test.expected[i]);
      return false;
    }
  }
  return true;
}

void print_shape(const char *kernel, sigdca_profile profile, uint32_t team, const Case &test) {
  const ConvShape &shape = test.shape;
  printf("%s profile %d team %u: %ux%ux%u to %ux%ux%u, groups %u, %zu weights;", kernel, profile,
         team, shape.input.channels, shape.input.height, shape.input.width, shape.output.channels,
         shape.output.height, shape.output.width, shape.groups, test.weights.num_nonzero());
  for (int axis = 0; axis < 2; ++axis)
    printf(" kernel %u stride %u padding %u dilation %u;", shape.window.kernel[axis],
           shape.window.stride[axis], shape.window.padding[axis], shape.window.dilation[axis]);
  printf("\n");
}

// Runs one kernel, each rank of the team after the other: float32 kernels use no barrier.
bool check(const Context &context, const ConvKernel &kernel, sigdca_profile profile, uint32_t team,
           Case *test) {
  LayerRequest request{};
  request.profile = profile, request.max_batch = 1, request.threads = team;
  if (!(kernel.cost_ns(request, test->shape, test->weights) >= 0)) return true;
  PreparedLayer *layer = nullptr;
  if (kernel.prepare(context, request, test->shape, test->weights, test->epilogue, &layer) !=
      SIGDCA_OK) {
    printf("prepare fails: ");
    print_shape(kernel.name, profile, team, *test);
    return false;
  }
  Array<uint8_t> scratch;
  (void)scratch.allocate(context, kernel.scratch_bytes(layer, team));
  if (scratch.size() != 0) memset(scratch.data(), 0xff, scratch.size());  // NaN
  for (float &value : test->output) value = NAN;
  for (uint32_t rank = 0; rank < team; ++rank) {
    Team member{};
    member.rank = rank, member.size = team;
    kernel.run(layer, member, test->input.data(), test->output.data(), scratch.data());
  }
  kernel.release(context, layer);
  if (is_right(*test, profile == SIGDCA_PROFILE_EXACT)) return true;
  print_shape(kernel.name, profile, team, *test);
  return false;
}

}  // namespace

int main(int argc, char **argv) {
  const int cases = argc > 1 ? atoi(argv[1]) : 300;
  if (argc > 2) state = strtoull(argv[2], nullptr, 0);
  const Context context{default_allocator(), nullptr};
  int wrong = 0, checked = 0;
  for (int i = 0; i < cases && wrong < 10; ++i) {
    Case test;
    make_case(context, &test);
    for (const ConvKernel *const *kernel = TABLE(CHECK_ISA); *kernel != nullptr; ++kernel) {
      if (strncmp((*kernel)->name, "int8", 4) == 0) continue;
      const uint32_t team = 1 + random_below(4);
      wrong += !check(context, **kernel, SIGDCA_PROFILE_EXACT, team, &test);
      wrong += !check(context, **kernel, SIGDCA_PROFILE_FAST, team, &test);
      checked += 2;
    }
  }
  printf("%d runs, %d wrong\n", checked, wrong);
  return wrong != 0;
}
