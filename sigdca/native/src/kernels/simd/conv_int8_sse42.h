// SSE4.2's vectors of integers for conv_int8_pack.h and conv_int8_tile.h.
#pragma once

#include "kernels/simd/vec_sse42.h"

#include "kernels/simd/conv_int8_x86.h"

namespace sigdca::sse42 {
namespace {

constexpr int kInt8Vectors = 3, kInt8Pixels = 4;

using Ints = __m128i;
using Weights8 = const __m128i *;  // in memory: registers are few
using Quad = __m128i;

SIGDCA_INLINE Ints no_ints() { return _mm_setzero_si128(); }
SIGDCA_INLINE Ints load_ints(const int32_t *from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
}
SIGDCA_INLINE void store_ints(uint32_t *to, Ints value) {
  _mm_storeu_si128(reinterpret_cast<__m128i *>(to), value);
}
SIGDCA_INLINE Ints subtract(Ints a, Ints b) { return _mm_sub_epi32(a, b); }
SIGDCA_INLINE Vec to_floats(Ints value) { return _mm_cvtepi32_ps(value); }
SIGDCA_INLINE Ints rounded(Vec value) { return _mm_cvtps_epi32(value); }
SIGDCA_INLINE Ints flipped(Ints value) { return value; }
template <int kBits>
SIGDCA_INLINE Ints put(Ints low, Ints high) {
  return _mm_or_si128(low, _mm_slli_epi32(high, kBits));
}

SIGDCA_INLINE Weights8 load_weights(const int8_t *from) {
  return reinterpret_cast<const __m128i *>(from);
}
SIGDCA_INLINE Quad load_quad(const uint8_t *from) {
  int32_t bytes;
  memcpy(&bytes, from, sizeof(bytes));
  return _mm_set1_epi32(bytes);
}
// By hand, as compilers keep a copy of each of the weights and run out of registers.
SIGDCA_INLINE void add_products(Ints &sum, Quad quad, Weights8 weights) {
  __m128i total = sum, products;
  __asm__ inline("movdqa %[quad], %[products]\n\t"
          "pmaddubsw %[weights], %[products]\n\t"
          "pmaddwd %[ones], %[products]\n\t"
          "paddd %[products], %[sum]"
          : [sum] "+x"(total), [products] "=&x"(products)
          : [quad] "x"(quad), [weights] "m"(*weights), [ones] "x"(_mm_set1_epi16(1)));
  sum = total;
}
// The same of two 16-bit numbers each.
SIGDCA_INLINE void add_pairs(Ints &sum, Quad quad, Weights8 weights) {
  __m128i total = sum, products;
  __asm__ inline("movdqa %[quad], %[products]\n\t"
          "pmaddwd %[weights], %[products]\n\t"
          "paddd %[products], %[sum]"
          : [sum] "+x"(total), [products] "=&x"(products)
          : [quad] "x"(quad), [weights] "m"(*weights));
  sum = total;
}

SIGDCA_INLINE void store_sixteens(uint8_t *to, size_t step, const Ints (&quads)[4]) {
  Ints rows[4] = {quads[0], quads[1], quads[2], quads[3]};
  transpose_words(rows);
  for (int i = 0; i < 4; ++i)
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to + size_t(i) * step), rows[i]);
}

SIGDCA_INLINE void transpose(Vec (&square)[4]) {
  _MM_TRANSPOSE4_PS(square[0], square[1], square[2], square[3]);
}

// For Winograd's convolution: 16-bit pairs.
constexpr int kWinogradTiles = 4;
SIGDCA_INLINE Ints add_ints(Ints a, Ints b) { return _mm_add_epi32(a, b); }
SIGDCA_INLINE Ints quarter(Ints value) { return _mm_srai_epi32(value, 2); }
SIGDCA_INLINE __m128 quarter_of(Vec value, int) { return value; }

}  // namespace
}  // namespace sigdca::sse42
