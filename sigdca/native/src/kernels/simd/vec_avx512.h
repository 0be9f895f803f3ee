// Sixteen floats of AVX-512 (F, BW, DQ, VL). Every vec_<isa>.h defines the same names in its own
// namespace; the files in kernels/simd/ are written against them and compiled once for each.
#pragma once

// GCC 12 takes the undefined operand that its own intrinsics pass on for a mistake (bug 105593).
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#ifndef __clang__
#pragma GCC diagnostic pop
#endif
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SIGDCA_ISA_NAMESPACE avx512
#define SIGDCA_INLINE static inline __attribute__((always_inline))

namespace sigdca::avx512 {

using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kRegisters = 32;  // that the instruction set has
constexpr bool kTwoRoundings = true;  // muladd<true> is not muladd<false>
constexpr bool kBroadcastFromMemory = true;

SIGDCA_INLINE Vec load(const float *from) { return _mm512_loadu_ps(from); }
SIGDCA_INLINE void store(float *to, Vec value) { _mm512_storeu_ps(to, value); }
SIGDCA_INLINE Vec set1(float value) { return _mm512_set1_ps(value); }
SIGDCA_INLINE Vec broadcast(const float *from) { return _mm512_set1_ps(*from); }
SIGDCA_INLINE Vec zero() { return _mm512_setzero_ps(); }
SIGDCA_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
SIGDCA_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
SIGDCA_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
SIGDCA_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
SIGDCA_INLINE Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
SIGDCA_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
// NaN where one of both is.
SIGDCA_INLINE Vec max_or_nan(Vec a, Vec b) {
  return _mm512_mask_max_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b);
}
SIGDCA_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
SIGDCA_INLINE float max_lane(Vec value) { return _mm512_reduce_max_ps(value); }
// sum + a * b. Exact: the product is rounded, then the sum, on every instruction set.
template <bool kExact>
SIGDCA_INLINE Vec muladd(Vec sum, Vec a, Vec b) {
  return kExact ? _mm512_add_ps(sum, _mm512_mul_ps(a, b)) : _mm512_fmadd_ps(a, b, sum);
}
// The first `count` lanes (1..kLanes); nothing behind them is touched, lanes not loaded are 0.
SIGDCA_INLINE __mmask16 part_mask(size_t count) {
  return static_cast<__mmask16>((1u << count) - 1);
}
SIGDCA_INLINE Vec load_part(const float *from, size_t count) {
  return _mm512_maskz_loadu_ps(part_mask(count), from);
}
SIGDCA_INLINE void store_part(float *to, Vec value, size_t count) {
  _mm512_mask_storeu_ps(to, part_mask(count), value);
}

}  // namespace sigdca::avx512
