// Convolution, plainly: each weight that is not zero times its place in every window.
#include "kernels/reference/layer.h"
#include "kernels/reference/tables.h"

namespace sigdca::reference {
namespace {

double cost_ns(const LayerRequest &, const ConvShape &shape, const Weights &weights) {
  return static_cast<double>(weights.num_nonzero()) * shape.output.height * shape.output.width;
}

sigdca_status prepare(const Context &context, const LayerRequest &, const ConvShape &shape,
                      const Weights &weights, const Epilogue &epilogue, PreparedLayer **layer) {
  Layer *made = nullptr;
  SIGDCA_TRY(make_layer(context, weights, epilogue, &made));
  made->shape = shape;
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

// Of the outputs on one axis, those [first, last) whose window has tap `tap` inside the input.
struct Range {
  int64_t first, last;
};

Range inside(const ConvShape &shape, int axis, uint32_t tap) {
  const Window &window = shape.window;
  const int64_t input = axis == 0 ? shape.input.height : shape.input.width;
  const int64_t output = axis == 0 ? shape.output.height : shape.output.width;
  const int64_t stride = window.stride[axis];
  const int64_t start = int64_t{tap} * window.dilation[axis] - window.padding[axis];
  const int64_t first = start >= 0 ? 0 : (-start + stride - 1) / stride;
  const int64_t last = input - start <= 0 ? 0 : (input - start + stride - 1) / stride;
  return Range{first, last < output ? last : output};
}

// Adds weight * input to all outputs of a channel; plane: the weight's input channel.
void add_weight(const ConvShape &shape, float weight, uint32_t tap_y, uint32_t tap_x,
                const float *plane, float *__restrict output) {
  const Window &window = shape.window;
  const Range rows = inside(shape, 0, tap_y), columns = inside(shape, 1, tap_x);
  const int64_t start_y = int64_t{tap_y} * window.dilation[0] - window.padding[0];
  const int64_t start_x = int64_t{tap_x} * window.dilation[1] - window.padding[1];
  for (int64_t y = rows.first; y < rows.last; ++y) {
    const int64_t from_y = y * window.stride[0] + start_y;
    const float *__restrict from = plane + from_y * shape.input.width + start_x;
    float *__restrict to = output + y * shape.output.width;
    if (window.stride[1] == 1) {
      for (int64_t x = columns.first; x < columns.last; ++x) to[x] = to[x] + weight * from[x];
    } else {
      for (int64_t x = columns.first; x < columns.last; ++x)
        to[x] = to[x] + weight * from[x * window.stride[1]];
    }
  }
}

void run(const PreparedLayer *prepared, const Team &team, const float *input, float *output,
         void *) {
  const Layer &layer = *of(prepared);
  const ConvShape &shape = layer.shape;
  const uint32_t taps = shape.window.kernel[0] * shape.window.kernel[1];
  const uint32_t channels = shape.input.channels / shape.groups;
  const uint32_t rows_of_group = layer.rows / shape.groups;
  const size_t in_plane = size_t{shape.input.height} * shape.input.width;
  const size_t out_plane = size_t{shape.output.height} * shape.output.width;
  size_t begin = 0, end = 0;
  team.part(layer.rows, 1, &begin, &end);
  for (size_t row = begin; row < end; ++row) {
    const float *group = input + row / rows_of_group * channels * in_plane;
    float *sums = output + row * out_plane;
    for (size_t i = 0; i < out_plane; ++i) sums[i] = 0;
    for (uint64_t i = layer.row_start[row]; i < layer.row_start[row + 1]; ++i) {
      const uint32_t channel = layer.columns[i] / taps, tap = layer.columns[i] % taps;
      add_weight(shape, layer.values[i], tap / shape.window.kernel[1],
                 tap % shape.window.kernel[1], group + channel * in_plane, sums);
    }
    for (size_t i = 0; i < out_plane; ++i)
      sums[i] = finish(layer.epilogue, static_cast<uint32_t>(row), sums[i]);
  }
}

}  // namespace

const ConvKernel kConv = {"reference", cost_ns, prepare, release, weight_bytes, scratch_bytes,
                          run};

}  // namespace sigdca::reference
