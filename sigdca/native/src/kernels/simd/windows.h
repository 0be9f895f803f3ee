// Rows of pooling windows: what max_pool.h and avg_pool.h share.
#pragma once

#include "kernels/simd/elementwise.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// Floats of a padded row on the stack. Wider images go the plain way.
constexpr size_t kRowRoom = 2048;

SIGDCA_INLINE bool row_fits(const PoolShape &shape) {
  const Window &window = shape.window;
  // The last vector of outputs reads this far.
  const size_t reach = (size_t{shape.output.width} + kLanes) * window.stride[1] +
                       window.kernel[1] + 2 * kLanes;
  return window.stride[1] <= 2 && reach <= kRowRoom &&
         size_t{shape.input.width} + window.padding[1] <= kRowRoom;
}

// The rows [first, last) of the input under the windows of output row y.
struct Rows {
  size_t first, last, padded;  // padded: how many with the padding, for an average
};

SIGDCA_INLINE Rows rows_under(const PoolShape &shape, size_t y) {
  const Window &window = shape.window;
  const int64_t height = shape.input.height, limit = height + window.padding[0];
  const int64_t start = static_cast<int64_t>(y * window.stride[0]) - window.padding[0];
  const int64_t end = start + window.kernel[0] < limit ? start + window.kernel[0] : limit;
  return Rows{static_cast<size_t>(start < 0 ? 0 : start),
              static_cast<size_t>(end < height ? end : height), static_cast<size_t>(end - start)};
}

// Calls `take` with each tap of kLanes windows from a padded row, in ascending order; `at` is the
// first window's place.
template <class Take>
SIGDCA_INLINE void each_tap(const float *at, uint32_t kernel, uint32_t stride, Take take) {
  if (stride == 1) {
    for (uint32_t tap = 0; tap < kernel; ++tap) take(load(at + tap));
    return;
  }
  uint32_t tap = 0;
  for (; tap + 2 <= kernel; tap += 2) {
    const Vec low = load(at + tap), high = load(at + tap + kLanes);
    take(even(low, high));
    take(odd(low, high));
  }
  if (tap < kernel) take(even(load(at + tap), load(at + tap + kLanes)));
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
