// Eight floats of AVX2 with FMA. Every vec_<isa>.h defines the same names in its own
// namespace; the files in kernels/simd/ are written against them and compiled once for each.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SIGDCA_ISA_NAMESPACE avx2
#define SIGDCA_INLINE static inline __attribute__((always_inline))

namespace sigdca::avx2 {

using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kRegisters = 16;  // that the instruction set has
constexpr bool kTwoRoundings = true;  // muladd<true> is not muladd<false>
constexpr bool kBroadcastFromMemory = true;

SIGDCA_INLINE Vec load(const float *from) { return _mm256_loadu_ps(from); }
SIGDCA_INLINE void store(float *to, Vec value) { _mm256_storeu_ps(to, value); }
SIGDCA_INLINE Vec set1(float value) { return _mm256_set1_ps(value); }
SIGDCA_INLINE Vec broadcast(const float *from) { return _mm256_broadcast_ss(from); }
SIGDCA_INLINE Vec zero() { return _mm256_setzero_ps(); }
SIGDCA_INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
SIGDCA_INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
SIGDCA_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
SIGDCA_INLINE Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
SIGDCA_INLINE Vec sqrt(Vec a) { return _mm256_sqrt_ps(a); }
SIGDCA_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
// NaN where one of both is.
SIGDCA_INLINE Vec max_or_nan(Vec a, Vec b) {
  return _mm256_or_ps(_mm256_max_ps(a, b), _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
SIGDCA_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
SIGDCA_INLINE float max_lane(Vec value) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_shuffle_ps(half, half, 1)));
}
// sum + a * b. Exact: the product is rounded, then the sum, on every instruction set.
template <bool kExact>
SIGDCA_INLINE Vec muladd(Vec sum, Vec a, Vec b) {
  return kExact ? _mm256_add_ps(sum, _mm256_mul_ps(a, b)) : _mm256_fmadd_ps(a, b, sum);
}
// The first `count` lanes (1..kLanes); nothing behind them is touched, lanes not loaded are 0.
SIGDCA_INLINE __m256i part_mask(size_t count) {
  const __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), place);
}
SIGDCA_INLINE Vec load_part(const float *from, size_t count) {
  return _mm256_maskload_ps(from, part_mask(count));
}
SIGDCA_INLINE void store_part(float *to, Vec value, size_t count) {
  _mm256_maskstore_ps(to, part_mask(count), value);
}

}  // namespace sigdca::avx2
