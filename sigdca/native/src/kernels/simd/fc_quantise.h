// Inputs as 8-bit numbers, for fully connected layers. The instruction set brings to_int8; see
// <isa>/fc.cc.
#pragma once

#include <math.h>

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// Quantises an input to -127..127; returns the scale, and whether any is negative. A value that is
// infinite or NaN makes the scale NaN, and with it all results.
static inline float quantise(const float *input, uint32_t cols, uint32_t quads, int8_t *to,
                             bool *is_signed) {
  Vec most[2], least[2], wrong[2];  // two: one would wait for itself
  for (int i = 0; i < 2; ++i) most[i] = least[i] = wrong[i] = zero();
  const auto take = [&](int i, Vec value) __attribute__((always_inline)) {
    most[i] = max(value, most[i]), least[i] = min(value, least[i]);
    wrong[i] = muladd<false>(wrong[i], value, zero());
  };
  uint32_t col = 0;
  for (; col + 2 * kLanes <= cols; col += 2 * kLanes) {
    take(0, load(input + col));
    take(1, load(input + col + kLanes));
  }
  for (; col < cols; col += kLanes)
    take(0, load_part(input + col, cols - col < kLanes ? cols - col : size_t{kLanes}));
  const float high = max_lane(max(most[1], most[0]));
  const float low = -max_lane(sub(zero(), min(least[1], least[0])));
  const float size = high > -low ? high : -low;
  uint32_t places[kLanes];
  const bool finite = list_lanes(add(wrong[0], wrong[1]), 0, places) == 0;
  if (!finite || size < 1e-30f) {  // so small does not matter
    memset(to, 0, size_t{quads} * 4);
    *is_signed = false;
    return finite ? 0 : NAN;
  }
  *is_signed = low < 0;
  const Vec factor = set1(127 / size);
  for (col = 0; col + kLanes <= cols; col += kLanes)
    to_int8(mul(load(input + col), factor), to + col);
  if (col < cols) {
    int8_t rest[kLanes];
    to_int8(mul(load_part(input + col, cols - col), factor), rest);
    memcpy(to + col, rest, size_t{quads} * 4 - col);
  }
  return size / 127;
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
