// Operators value by value. For <isa>/table.cc, which defines `from_bytes` before.
#pragma once

#include "core/fixed_math.h"
#include "kernels/simd/tables.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// What a lane that is not stored computes does not matter, but it must be allowed to.
SIGDCA_INLINE Vec load_some(const float *from, size_t count) {
  return count >= kLanes ? load(from) : load_part(from, count);
}

SIGDCA_INLINE void store_some(float *to, Vec value, size_t count) {
  if (count >= kLanes)
    store(to, value);
  else
    store_part(to, value, count);
}

// max and min keep a NaN that is their second operand.
SIGDCA_INLINE Vec clamped(Vec value, Vec low, Vec high) { return min(high, max(low, value)); }

void from_pixels(const uint8_t *pixels, float scale, float *values, size_t begin, size_t end) {
  const Vec factor = set1(scale);
  size_t i = begin;
  for (; i + kLanes <= end; i += kLanes) store(values + i, mul(from_bytes(pixels + i), factor));
  for (; i < end; ++i) values[i] = static_cast<float>(pixels[i]) * scale;
}

void clamp(const float *input, float low, float high, float *output, size_t begin, size_t end) {
  const Vec lows = set1(low), highs = set1(high);
  for (size_t i = begin; i < end; i += kLanes)
    store_some(output + i, clamped(load_some(input + i, end - i), lows, highs), end - i);
}

// The output may be one of the inputs.
void add(const float *left, const float *right, float *output, size_t begin, size_t end) {
  for (size_t i = begin; i < end; i += kLanes)
    store_some(output + i, add(load_some(left + i, end - i), load_some(right + i, end - i)),
               end - i);
}

void scale_shift(const Shape &shape, const float *input, const float *scale, const float *shift,
                 float *output, size_t begin, size_t end) {
  const size_t plane = size_t{shape.height} * shape.width;
  for (size_t channel = begin; channel < end; ++channel) {
    const Vec factor = set1(scale[channel]), term = set1(shift[channel]);
    const size_t stop = (channel + 1) * plane;
    for (size_t i = channel * plane; i < stop; i += kLanes)
      store_some(output + i, add(mul(load_some(input + i, stop - i), factor), term), stop - i);
  }
}

// base^beta, on every instruction set the same bits: square roots are rounded correctly.
SIGDCA_INLINE Vec lrn_power(Vec base, double beta) {
  if (beta == 0.75) {
    const Vec root = sqrt(base);
    return mul(root, sqrt(root));
  }
  float lanes[kLanes];
  store(lanes, base);
  for (float &lane : lanes) lane = static_cast<float>(fixed_pow(lane, beta));
  return load(lanes);
}

void lrn(const Shape &shape, uint32_t size, double alpha, double beta, double k,
         const float *input, float *output, size_t begin, size_t end) {
  constexpr size_t kBlock = 8 * kLanes;  // pixels: their neighbours' lines stay in the cache
  const size_t plane = size_t{shape.height} * shape.width;
  const int64_t before = size / 2, behind = (size - 1) / 2, channels = shape.channels;
  const Vec factor = set1(static_cast<float>(alpha / size)), offset = set1(static_cast<float>(k));
  for (size_t block = begin; block < end; block += kBlock) {
    const size_t stop = block + kBlock < end ? block + kBlock : end;
    for (int64_t channel = 0; channel < channels; ++channel) {
      const int64_t first = channel < before ? 0 : channel - before;
      const int64_t last = channel + behind < channels ? channel + behind : channels - 1;
      for (size_t pixel = block; pixel < stop; pixel += kLanes) {
        const size_t count = stop - pixel;
        Vec sum = zero();
        for (int64_t c = first; c <= last; ++c) {
          const Vec value = load_some(input + c * plane + pixel, count);
          sum = add(sum, mul(value, value));
        }
        const Vec power = lrn_power(add(offset, mul(factor, sum)), beta);
        const size_t at = channel * plane + pixel;
        const Vec result = add(div(load_some(input + at, count), power), zero());  // never -0
        store_some(output + at, result, count);
      }
    }
  }
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
