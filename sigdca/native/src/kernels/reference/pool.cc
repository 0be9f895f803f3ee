// Pooling, plainly, with torch's windows: what lies in the padding is no value.
#include <math.h>

#include "kernels/reference/tables.h"

namespace sigdca::reference {
namespace {

// A window's extent on one axis: in the input, and with the padding.
struct Span {
  int64_t first, last, padded;
};

Span span(const PoolShape &shape, int axis, uint32_t place) {
  const Window &window = shape.window;
  const int64_t size = axis == 0 ? shape.input.height : shape.input.width;
  const int64_t start = int64_t{place} * window.stride[axis] - window.padding[axis];
  // A window that was rounded up may reach behind the padding: that is not counted.
  const int64_t limit = size + window.padding[axis];
  const int64_t end = start + window.kernel[axis] < limit ? start + window.kernel[axis] : limit;
  return Span{start < 0 ? 0 : start, end < size ? end : size, end - start};
}

template <class Function>
void each_window(const PoolShape &shape, const float *input, float *output, size_t begin,
                 size_t end, Function function) {
  const size_t in_plane = size_t{shape.input.height} * shape.input.width;
  const size_t out_plane = size_t{shape.output.height} * shape.output.width;
  for (size_t channel = begin; channel < end; ++channel) {
    float *to = output + channel * out_plane;
    for (uint32_t y = 0; y < shape.output.height; ++y)
      for (uint32_t x = 0; x < shape.output.width; ++x)
        *to++ = function(input + channel * in_plane, span(shape, 0, y), span(shape, 1, x));
  }
}

}  // namespace

void max_pool(const PoolShape &shape, const float *input, float *output, size_t begin,
              size_t end) {
  each_window(shape, input, output, begin, end, [&](const float *plane, Span rows, Span columns) {
    float best = -INFINITY;
    for (int64_t y = rows.first; y < rows.last; ++y)
      for (int64_t x = columns.first; x < columns.last; ++x) {
        const float value = plane[y * shape.input.width + x];
        best = best > value || best != best ? best : value;  // a NaN stays one
      }
    return best;
  });
}

void avg_pool(const PoolShape &shape, const float *input, float *output, size_t begin,
              size_t end) {
  each_window(shape, input, output, begin, end, [&](const float *plane, Span rows, Span columns) {
    float sum = 0;
    for (int64_t y = rows.first; y < rows.last; ++y)
      for (int64_t x = columns.first; x < columns.last; ++x)
        sum = sum + plane[y * shape.input.width + x];
    const int64_t count =
        shape.include_pad ? rows.padded * columns.padded
                          : (rows.last - rows.first) * (columns.last - columns.first);
    return sum / static_cast<float>(count) + 0.0f;
  });
}

void global_avg_pool(const Shape &shape, const float *input, float *output, size_t begin,
                     size_t end) {
  const size_t plane = size_t{shape.height} * shape.width;
  for (size_t channel = begin; channel < end; ++channel) {
    float sum = 0;
    for (size_t i = 0; i < plane; ++i) sum = sum + input[channel * plane + i];
    output[channel] = sum / static_cast<float>(plane) + 0.0f;
  }
}

}  // namespace sigdca::reference
