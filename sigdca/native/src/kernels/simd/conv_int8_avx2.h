// AVX2's vectors of integers for conv_int8_pack.h and conv_int8_tile.h.
#pragma once

#include "kernels/simd/vec_avx2.h"

#include "kernels/simd/conv_int8_x86.h"

namespace sigdca::avx2 {
namespace {

constexpr int kInt8Vectors = 3, kInt8Pixels = 4;

using Ints = __m256i;
using Weights8 = const __m256i *;  // in memory: registers are few
using Quad = __m256i;

SIGDCA_INLINE Ints no_ints() { return _mm256_setzero_si256(); }
SIGDCA_INLINE Ints load_ints(const int32_t *from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
}
SIGDCA_INLINE void store_ints(uint32_t *to, Ints value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), value);
}
SIGDCA_INLINE Ints subtract(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
SIGDCA_INLINE Vec to_floats(Ints value) { return _mm256_cvtepi32_ps(value); }
SIGDCA_INLINE Ints rounded(Vec value) { return _mm256_cvtps_epi32(value); }
SIGDCA_INLINE Ints flipped(Ints value) { return value; }
template <int kBits>
SIGDCA_INLINE Ints put(Ints low, Ints high) {
  return _mm256_or_si256(low, _mm256_slli_epi32(high, kBits));
}

SIGDCA_INLINE Weights8 load_weights(const int8_t *from) {
  return reinterpret_cast<const __m256i *>(from);
}
SIGDCA_INLINE Quad load_quad(const uint8_t *from) {
  int32_t bytes;
  memcpy(&bytes, from, sizeof(bytes));
  return _mm256_set1_epi32(bytes);
}
// By hand, as compilers keep a copy of each of the weights and run out of registers.
SIGDCA_INLINE void add_products(Ints &sum, Quad quad, Weights8 weights) {
  __m256i total = sum, products;
  __asm__ inline("vpmaddubsw %[weights], %[quad], %[products]\n\t"
          "vpmaddwd %[ones], %[products], %[products]\n\t"
          "vpaddd %[products], %[sum], %[sum]"
          : [sum] "+x"(total), [products] "=&x"(products)
          : [quad] "x"(quad), [weights] "m"(*weights), [ones] "x"(_mm256_set1_epi16(1)));
  sum = total;
}
// The same of two 16-bit numbers each.
SIGDCA_INLINE void add_pairs(Ints &sum, Quad quad, Weights8 weights) {
  __m256i total = sum, products;
  __asm__ inline("vpmaddwd %[weights], %[quad], %[products]\n\t"
          "vpaddd %[products], %[sum], %[sum]"
          : [sum] "+x"(total), [products] "=&x"(products)
          : [quad] "x"(quad), [weights] "m"(*weights));
  sum = total;
}

SIGDCA_INLINE void store_sixteens(uint8_t *to, size_t step, const Ints (&quads)[4]) {
  for (int half = 0; half < 2; ++half) {
    __m128i rows[4];
    for (int i = 0; i < 4; ++i) {
      const Ints both = quads[i];
      rows[i] = half == 0 ? _mm256_castsi256_si128(both) : _mm256_extracti128_si256(both, 1);
    }
    transpose_words(rows);
    for (int i = 0; i < 4; ++i)
      _mm_storeu_si128(reinterpret_cast<__m128i *>(to + size_t(4 * half + i) * step), rows[i]);
  }
}

SIGDCA_INLINE void transpose(Vec (&square)[8]) {
  Vec mixed[8];
  for (int i = 0; i < 8; i += 4) {
    const Vec a = _mm256_unpacklo_ps(square[i], square[i + 1]);
    const Vec b = _mm256_unpacklo_ps(square[i + 2], square[i + 3]);
    const Vec c = _mm256_unpackhi_ps(square[i], square[i + 1]);
    const Vec d = _mm256_unpackhi_ps(square[i + 2], square[i + 3]);
    mixed[i] = _mm256_shuffle_ps(a, b, 0x44), mixed[i + 1] = _mm256_shuffle_ps(a, b, 0xee);
    mixed[i + 2] = _mm256_shuffle_ps(c, d, 0x44), mixed[i + 3] = _mm256_shuffle_ps(c, d, 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    square[i] = _mm256_permute2f128_ps(mixed[i], mixed[i + 4], 0x20);
    square[i + 4] = _mm256_permute2f128_ps(mixed[i], mixed[i + 4], 0x31);
  }
}

// For Winograd's convolution: 16-bit pairs.
constexpr int kWinogradTiles = 4;
SIGDCA_INLINE Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
SIGDCA_INLINE Ints quarter(Ints value) { return _mm256_srai_epi32(value, 2); }
SIGDCA_INLINE __m128 quarter_of(Vec value, int part) {
  return part == 0 ? _mm256_castps256_ps128(value) : _mm256_extractf128_ps(value, 1);
}

}  // namespace
}  // namespace sigdca::avx2
