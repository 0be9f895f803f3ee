// Inputs as 8-bit numbers, for fully connected layers. The instruction set brings to_int8; see
// <isa>/fc.cc.
#pragma once

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// Quantises an input to -127..127; returns the scale, and whether any is negative.
static inline float quantise(const float *input, uint32_t cols, uint32_t quads, int8_t *to,
                             bool *is_signed) {
  Vec most = zero(), least = zero(), most_too = zero(), least_too = zero();
  uint32_t col = 0;
  for (; col + 2 * kLanes <= cols; col += 2 * kLanes) {  // one would wait for itself
    const Vec x = load(input + col), y = load(input + col + kLanes);
    most = max(x, most), least = min(x, least);
    most_too = max(y, most_too), least_too = min(y, least_too);
  }
  most = max(most_too, most), least = min(least_too, least);
  for (; col + kLanes <= cols; col += kLanes) {
    const Vec x = load(input + col);
    most = max(x, most), least = min(x, least);
  }
  if (col < cols) {
    const Vec x = load_part(input + col, cols - col);
    most = max(x, most), least = min(x, least);
  }
  const float high = max_lane(most), low = -max_lane(sub(zero(), least));
  *is_signed = low < 0;
  const float size = high > -low ? high : -low;
  if (!(size >= 1e-30f)) {  // too small to matter
    memset(to, 0, size_t{quads} * 4);
    *is_signed = false;
    return 0;
  }
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
