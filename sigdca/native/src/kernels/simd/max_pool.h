// Maximum pooling: first over the rows, then, in a padded row, over the columns. A NaN in a window
// is its maximum.
#pragma once

#include <math.h>

#include "kernels/reference/tables.h"
#include "kernels/simd/windows.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// kLanes windows of 2x2 side by side, or the first `count`.
SIGDCA_INLINE void max_2x2(const float *upper, const float *lower, float *to, size_t count) {
  Vec low, high;
  if (count >= kLanes) {
    low = max_or_nan(load(upper), load(lower));
    high = max_or_nan(load(upper + kLanes), load(lower + kLanes));
    store(to, max_or_nan(even(low, high), odd(low, high)));
    return;
  }
  const size_t inputs = 2 * count;
  low = max_or_nan(load_some(upper, inputs), load_some(lower, inputs));
  high = low;
  if (inputs > kLanes)
    high = max_or_nan(load_part(upper + kLanes, inputs - kLanes),
                      load_part(lower + kLanes, inputs - kLanes));
  store_part(to, max_or_nan(even(low, high), odd(low, high)), count);
}

SIGDCA_INLINE void max_pool_2x2(const PoolShape &shape, const float *input, float *output,
                                size_t begin, size_t end) {
  const size_t in_width = shape.input.width, width = shape.output.width;
  for (size_t channel = begin; channel < end; ++channel) {
    const float *from = input + channel * shape.input.height * in_width;
    float *to = output + channel * shape.output.height * width;
    for (uint32_t y = 0; y < shape.output.height; ++y, from += 2 * in_width, to += width) {
      size_t x = 0;
      for (; x + kLanes <= width; x += kLanes)
        max_2x2(from + 2 * x, from + in_width + 2 * x, to + x, kLanes);
      if (x == width) continue;
      // Where there is one whole vector, the last may overlap it.
      if (width > kLanes) x = width - kLanes;
      max_2x2(from + 2 * x, from + in_width + 2 * x, to + x, width - x);
    }
  }
}

#ifndef SIGDCA_NARROW_ROWS  // an instruction set may bring its own
// Images whose rows are one vector.
constexpr size_t kNarrow = kLanes;

// Two rows of outputs from four rows of inputs.
SIGDCA_INLINE void max_narrow_rows(const float *from, float *to) {
  const Vec low = max_or_nan(load(from), load(from + kLanes));
  const Vec high = max_or_nan(load(from + 2 * kLanes), load(from + 3 * kLanes));
  store(to, max_or_nan(even(low, high), odd(low, high)));
}
#endif

// Rows of kNarrow inputs; an even number of them, so that they lie without a gap.
SIGDCA_INLINE void max_pool_2x2_narrow(const PoolShape &shape, const float *input, float *output,
                                       size_t begin, size_t end) {
  const size_t rows = (end - begin) * shape.output.height;
  const float *from = input + begin * shape.input.height * kNarrow;
  float *to = output + begin * shape.output.height * (kNarrow / 2);
  size_t row = 0;
  for (; row + 2 <= rows; row += 2, from += 4 * kNarrow, to += kNarrow) max_narrow_rows(from, to);
  if (row < rows) max_2x2(from, from + kNarrow, to, kNarrow / 2);
}

// Rows of less than two vectors, an even number of inputs in each and of them: first over pairs of
// columns, without regard to where a row ends, then over pairs of rows.
SIGDCA_INLINE void max_pool_2x2_flat(const PoolShape &shape, const float *input, float *output,
                                     size_t begin, size_t end) {
  float columns[kRowRoom + kLanes];
  const size_t width = shape.output.width, height = shape.output.height;
  const size_t rows = (end - begin) * height, chunk = kRowRoom / (2 * width);
  const float *from = input + begin * height * width * 4;
  float *to = output + begin * height * width;
  for (size_t row = 0; row < rows; row += chunk) {
    const size_t now = rows - row < chunk ? rows - row : chunk, pairs = now * 2 * width;
    for (size_t i = 0; i < pairs; i += kLanes) {
      const size_t left = 2 * (pairs - i);
      const Vec low = load_some(from + 2 * i, left);
      const Vec high = left > kLanes ? load_some(from + 2 * i + kLanes, left - kLanes) : low;
      store(columns + i, max_or_nan(even(low, high), odd(low, high)));
    }
    const float *upper = columns;
    // Whole vectors write into the row behind, which comes later.
    size_t done = 0;
    for (; (done + 1) * width + kLanes <= now * width; ++done, upper += 2 * width)
      store(to + done * width, max_or_nan(load(upper), load(upper + width)));
    for (; done < now; ++done, upper += 2 * width)
      store_part(to + done * width, max_or_nan(load(upper), load(upper + width)), width);
    from += now * width * 4, to += now * width;
  }
}

SIGDCA_INLINE void max_of_rows(const float *plane, size_t width, Rows rows, float *to) {
  for (size_t x = 0; x < width; x += kLanes) {
    const size_t count = width - x;
    Vec best = load_some(plane + rows.first * width + x, count);
    for (size_t row = rows.first + 1; row < rows.last; ++row)
      best = max_or_nan(best, load_some(plane + row * width + x, count));
    store_some(to + x, best, count);
  }
}

SIGDCA_INLINE void max_pool_rows(const PoolShape &shape, const float *input, float *output,
                                 size_t begin, size_t end) {
  const Window &window = shape.window;
  const size_t width = shape.input.width, out_width = shape.output.width;
  float row[kRowRoom];  // the padding at both ends, and what the last vector reads behind it
  for (float &value : row) value = -INFINITY;
  for (size_t channel = begin; channel < end; ++channel) {
    const float *plane = input + channel * shape.input.height * width;
    float *to = output + channel * shape.output.height * out_width;
    for (uint32_t y = 0; y < shape.output.height; ++y, to += out_width) {
      max_of_rows(plane, width, rows_under(shape, y), row + window.padding[1]);
      for (size_t x = 0; x < out_width; x += kLanes) {
        Vec best = set1(-INFINITY);
        each_tap(row + x * window.stride[1], window.kernel[1], window.stride[1],
                 [&](Vec value) __attribute__((always_inline)) {
                   best = max_or_nan(best, value);
                 });
        store_some(to + x, best, out_width - x);
      }
    }
  }
}

void max_pool(const PoolShape &shape, const float *input, float *output, size_t begin,
              size_t end) {
  const Window &window = shape.window;
  const bool two = window.kernel[0] == 2 && window.kernel[1] == 2 && window.stride[0] == 2 &&
                   window.stride[1] == 2 && window.padding[0] == 0 && window.padding[1] == 0;
  // Rounded up, the last window is cut.
  const bool whole = 2 * shape.output.height <= shape.input.height &&
                     2 * shape.output.width <= shape.input.width;
  if (two && whole) {
    const bool no_gap = shape.input.height % 2 == 0 && shape.input.width % 2 == 0;
    if (no_gap && shape.input.width == kNarrow)
      max_pool_2x2_narrow(shape, input, output, begin, end);
    else if (no_gap && shape.output.width < kLanes)
      max_pool_2x2_flat(shape, input, output, begin, end);
    else
      max_pool_2x2(shape, input, output, begin, end);
  } else if (row_fits(shape)) {
    max_pool_rows(shape, input, output, begin, end);
  } else {
    reference::max_pool(shape, input, output, begin, end);
  }
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
