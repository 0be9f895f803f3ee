// AVX-512's operations for its fully connected kernels, with and without VNNI.
#pragma once

#include "kernels/simd/vec_avx512.h"

namespace sigdca::avx512 {
namespace {

SIGDCA_INLINE uint32_t nonzero(Vec value) {
  return _mm512_cmp_ps_mask(value, _mm512_setzero_ps(), _CMP_NEQ_UQ);
}
SIGDCA_INLINE uint32_t list_lanes(Vec value, uint32_t first, uint32_t *to) {
  const __mmask16 mask = static_cast<__mmask16>(nonzero(value));
  const __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i numbers = _mm512_add_epi32(places, _mm512_set1_epi32(static_cast<int>(first)));
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(mask, numbers));
  return static_cast<uint32_t>(__builtin_popcount(mask));
}

using Ints = __m512i;
SIGDCA_INLINE Ints zero_int() { return _mm512_setzero_si512(); }
SIGDCA_INLINE Ints load_int(const int32_t *from) { return _mm512_loadu_si512(from); }
SIGDCA_INLINE Ints sub_int(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
SIGDCA_INLINE Vec to_float(Ints value) { return _mm512_cvtepi32_ps(value); }
SIGDCA_INLINE void to_int8(Vec value, int8_t *to) {
  _mm_storeu_si128(reinterpret_cast<__m128i *>(to),
                   _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(value)));
}
SIGDCA_INLINE __m512i broadcast_quad(const int8_t *from) {
  int32_t bytes;
  memcpy(&bytes, from, sizeof(bytes));
  return _mm512_set1_epi32(bytes);
}

}  // namespace
}  // namespace sigdca::avx512
