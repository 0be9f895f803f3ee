// Four floats of NEON (ARMv8.0). Every vec_<isa>.h defines the same names in its own
// namespace; the files in kernels/simd/ are written against them and compiled once for each.
#pragma once

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SIGDCA_ISA_NAMESPACE neon
#define SIGDCA_INLINE static inline __attribute__((always_inline))

namespace sigdca::neon {

using Vec = float32x4_t;
constexpr int kLanes = 4;
constexpr int kRegisters = 32;  // that the instruction set has
constexpr bool kTwoRoundings = true;  // muladd<true> is not muladd<false>
constexpr bool kBroadcastFromMemory = false;

SIGDCA_INLINE Vec load(const float *from) { return vld1q_f32(from); }
SIGDCA_INLINE void store(float *to, Vec value) { vst1q_f32(to, value); }
SIGDCA_INLINE Vec set1(float value) { return vdupq_n_f32(value); }
SIGDCA_INLINE Vec broadcast(const float *from) { return vld1q_dup_f32(from); }
SIGDCA_INLINE Vec zero() { return vdupq_n_f32(0); }
SIGDCA_INLINE Vec add(Vec a, Vec b) { return vaddq_f32(a, b); }
SIGDCA_INLINE Vec sub(Vec a, Vec b) { return vsubq_f32(a, b); }
SIGDCA_INLINE Vec mul(Vec a, Vec b) { return vmulq_f32(a, b); }
SIGDCA_INLINE Vec div(Vec a, Vec b) { return vdivq_f32(a, b); }
SIGDCA_INLINE Vec sqrt(Vec a) { return vsqrtq_f32(a); }
SIGDCA_INLINE Vec max(Vec a, Vec b) { return vmaxq_f32(a, b); }
// NaN where one of both is.
SIGDCA_INLINE Vec max_or_nan(Vec a, Vec b) { return vmaxq_f32(a, b); }
SIGDCA_INLINE Vec min(Vec a, Vec b) { return vminq_f32(a, b); }
SIGDCA_INLINE float max_lane(Vec value) { return vmaxvq_f32(value); }
// sum + a * b. Exact: the product is rounded, then the sum, on every instruction set.
template <bool kExact>
SIGDCA_INLINE Vec muladd(Vec sum, Vec a, Vec b) {
  return kExact ? vaddq_f32(sum, vmulq_f32(a, b)) : vfmaq_f32(sum, a, b);
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

}  // namespace sigdca::neon
