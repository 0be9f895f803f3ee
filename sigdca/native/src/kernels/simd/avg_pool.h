// Average pooling: each sum runs over its window in the order of memory, on every instruction set.
#pragma once

#include "kernels/reference/tables.h"
#include "kernels/simd/windows.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// How many columns each window counts.
SIGDCA_INLINE void count_columns(const PoolShape &shape, float *counts) {
  const Window &window = shape.window;
  const int64_t width = shape.input.width, limit = width + window.padding[1];
  for (uint32_t x = 0; x < shape.output.width; ++x) {
    const int64_t start = int64_t{x} * window.stride[1] - window.padding[1];
    const int64_t end = start + window.kernel[1] < limit ? start + window.kernel[1] : limit;
    const int64_t inside = (end < width ? end : width) - (start < 0 ? 0 : start);
    counts[x] = static_cast<float>(shape.include_pad ? end - start : inside);
  }
}

SIGDCA_INLINE void avg_pool_rows(const PoolShape &shape, const float *input, float *output,
                                 size_t begin, size_t end) {
  const Window &window = shape.window;
  const size_t width = shape.input.width, out_width = shape.output.width;
  float row[kRowRoom], counts[kRowRoom];
  for (float &value : row) value = 0;  // the padding: it changes no sum
  for (float &count : counts) count = 1;
  count_columns(shape, counts);
  for (size_t channel = begin; channel < end; ++channel) {
    const float *plane = input + channel * shape.input.height * width;
    float *to = output + channel * shape.output.height * out_width;
    for (uint32_t y = 0; y < shape.output.height; ++y, to += out_width) {
      const Rows rows = rows_under(shape, y);
      const float height =
          static_cast<float>(shape.include_pad ? rows.padded : rows.last - rows.first);
      for (size_t from = rows.first; from < rows.last; ++from) {
        memcpy(row + window.padding[1], plane + from * width, width * sizeof(float));
        for (size_t x = 0; x < out_width; x += kLanes) {
          const size_t count = out_width - x;
          Vec sum = from == rows.first ? zero() : load_some(to + x, count);
          each_tap(row + x * window.stride[1], window.kernel[1], window.stride[1],
                   [&](Vec value) __attribute__((always_inline)) { sum = add(sum, value); });
          if (from + 1 == rows.last)  // the product of two counts is exact; never -0
            sum = add(div(sum, mul(set1(height), load(counts + x))), zero());
          store_some(to + x, sum, count);
        }
      }
    }
  }
}

void avg_pool(const PoolShape &shape, const float *input, float *output, size_t begin,
              size_t end) {
  if (row_fits(shape))
    avg_pool_rows(shape, input, output, begin, end);
  else
    reference::avg_pool(shape, input, output, begin, end);
}

// Eight sums at a time: one alone would wait for each of its additions.
void global_avg_pool(const Shape &shape, const float *input, float *output, size_t begin,
                     size_t end) {
  constexpr size_t kSums = 8;
  const size_t plane = size_t{shape.height} * shape.width;
  size_t channel = begin;
  for (; channel + kSums <= end; channel += kSums) {
    float sums[kSums] = {};
    const float *from = input + channel * plane;
    for (size_t i = 0; i < plane; ++i)
      for (size_t j = 0; j < kSums; ++j) sums[j] = sums[j] + from[j * plane + i];
    for (size_t j = 0; j < kSums; ++j)
      output[channel + j] = sums[j] / static_cast<float>(plane) + 0.0f;
  }
  if (channel < end) reference::global_avg_pool(shape, input, output, channel, end);
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
