// Four floats of SSE4.2. Every vec_<isa>.h defines the same names in its own
// namespace; the files in kernels/simd/ are written against them and compiled once for each.
#pragma once

#include <nmmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SIGDCA_ISA_NAMESPACE sse42
#define SIGDCA_INLINE static inline __attribute__((always_inline))

namespace sigdca::sse42 {

using Vec = __m128;
constexpr int kLanes = 4;
constexpr int kRegisters = 16;  // that the instruction set has
constexpr bool kTwoRoundings = false;  // muladd<true> is not muladd<false>
constexpr bool kBroadcastFromMemory = false;

SIGDCA_INLINE Vec load(const float *from) { return _mm_loadu_ps(from); }
SIGDCA_INLINE void store(float *to, Vec value) { _mm_storeu_ps(to, value); }
SIGDCA_INLINE Vec set1(float value) { return _mm_set1_ps(value); }
SIGDCA_INLINE Vec broadcast(const float *from) { return _mm_load1_ps(from); }
SIGDCA_INLINE Vec zero() { return _mm_setzero_ps(); }
SIGDCA_INLINE Vec add(Vec a, Vec b) { return _mm_add_ps(a, b); }
SIGDCA_INLINE Vec sub(Vec a, Vec b) { return _mm_sub_ps(a, b); }
SIGDCA_INLINE Vec mul(Vec a, Vec b) { return _mm_mul_ps(a, b); }
SIGDCA_INLINE Vec div(Vec a, Vec b) { return _mm_div_ps(a, b); }
SIGDCA_INLINE Vec sqrt(Vec a) { return _mm_sqrt_ps(a); }
SIGDCA_INLINE Vec max(Vec a, Vec b) { return _mm_max_ps(a, b); }
// NaN where one of both is.
SIGDCA_INLINE Vec max_or_nan(Vec a, Vec b) {
  return _mm_or_ps(_mm_max_ps(a, b), _mm_cmpunord_ps(a, a));
}
SIGDCA_INLINE Vec min(Vec a, Vec b) { return _mm_min_ps(a, b); }
SIGDCA_INLINE float max_lane(Vec value) {
  value = _mm_max_ps(value, _mm_movehl_ps(value, value));
  return _mm_cvtss_f32(_mm_max_ss(value, _mm_shuffle_ps(value, value, 1)));
}
// sum + a * b. Exact: the product is rounded, then the sum, on every instruction set.
template <bool kExact>
SIGDCA_INLINE Vec muladd(Vec sum, Vec a, Vec b) {
  return _mm_add_ps(sum, _mm_mul_ps(a, b));
}
// The first `count` lanes (1..kLanes); nothing behind them is touched, lanes not loaded are 0.
SIGDCA_INLINE Vec load_part(const float *from, size_t count) {
  float lanes[kLanes] = {};
  memcpy(lanes, from, count * sizeof(float));
  return load(lanes);
}
SIGDCA_INLINE void store_part(float *to, Vec value, size_t count) {
  float lanes[kLanes];
  store(lanes, value);
  memcpy(to, lanes, count * sizeof(float));
}

}  // namespace sigdca::sse42
