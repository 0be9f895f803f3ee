// AVX-512's vectors of integers for conv_int8_pack.h and conv_int8_tile.h; with VNNI's products
// where the file is compiled for it.
#pragma once

#include "kernels/simd/vec_avx512.h"

#include "kernels/simd/conv_int8_x86.h"

namespace sigdca::avx512 {
namespace {

#if defined(__AVX512VNNI__)
constexpr int kInt8Vectors = 2, kInt8Pixels = 14;
#else
constexpr int kInt8Vectors = 2, kInt8Pixels = 12;
#endif

using Ints = __m512i;
using Weights8 = __m512i;
using Quad = __m512i;

SIGDCA_INLINE Ints no_ints() { return _mm512_setzero_si512(); }
SIGDCA_INLINE Ints load_ints(const int32_t *from) { return _mm512_loadu_si512(from); }
SIGDCA_INLINE void store_ints(uint32_t *to, Ints value) { _mm512_storeu_si512(to, value); }
SIGDCA_INLINE Ints subtract(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
SIGDCA_INLINE Vec to_floats(Ints value) { return _mm512_cvtepi32_ps(value); }
SIGDCA_INLINE Ints rounded(Vec value) { return _mm512_cvtps_epi32(value); }
SIGDCA_INLINE Ints flipped(Ints value) { return value; }
template <int kBits>
SIGDCA_INLINE Ints put(Ints low, Ints high) {
  return _mm512_or_si512(low, _mm512_slli_epi32(high, kBits));
}

SIGDCA_INLINE Weights8 load_weights(const int8_t *from) { return _mm512_load_si512(from); }
SIGDCA_INLINE Quad load_quad(const uint8_t *from) {
  int32_t bytes;
  memcpy(&bytes, from, sizeof(bytes));
  return _mm512_set1_epi32(bytes);
}
SIGDCA_INLINE void add_products(Ints &sum, Quad quad, Weights8 weights) {
#if defined(__AVX512VNNI__)
  sum = _mm512_dpbusd_epi32(sum, quad, weights);
#else
  const __m512i pairs = _mm512_maddubs_epi16(quad, weights);
  sum = _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#endif
}

SIGDCA_INLINE void store_sixteens(uint8_t *to, size_t step, const Ints (&quads)[4]) {
  const Ints a = _mm512_unpacklo_epi32(quads[0], quads[1]);
  const Ints b = _mm512_unpacklo_epi32(quads[2], quads[3]);
  const Ints c = _mm512_unpackhi_epi32(quads[0], quads[1]);
  const Ints d = _mm512_unpackhi_epi32(quads[2], quads[3]);
  const Ints rows[4] = {_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b),
                        _mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d)};
  for (int i = 0; i < 4; ++i) {
    const auto put_at = [&](int place, __m128i value) SIGDCA_ALWAYS {
      _mm_storeu_si128(reinterpret_cast<__m128i *>(to + size_t(place) * step), value);
    };
    put_at(i, _mm512_castsi512_si128(rows[i]));
    put_at(4 + i, _mm512_extracti32x4_epi32(rows[i], 1));
    put_at(8 + i, _mm512_extracti32x4_epi32(rows[i], 2));
    put_at(12 + i, _mm512_extracti32x4_epi32(rows[i], 3));
  }
}

// Words within their quarters of the vectors first, then the quarters.
SIGDCA_INLINE void transpose(Vec (&square)[16]) {
  Vec mixed[16];
  for (int i = 0; i < 16; i += 4) {
    const Vec a = _mm512_unpacklo_ps(square[i], square[i + 1]);
    const Vec b = _mm512_unpacklo_ps(square[i + 2], square[i + 3]);
    const Vec c = _mm512_unpackhi_ps(square[i], square[i + 1]);
    const Vec d = _mm512_unpackhi_ps(square[i + 2], square[i + 3]);
    mixed[i] = _mm512_shuffle_ps(a, b, 0x44), mixed[i + 1] = _mm512_shuffle_ps(a, b, 0xee);
    mixed[i + 2] = _mm512_shuffle_ps(c, d, 0x44), mixed[i + 3] = _mm512_shuffle_ps(c, d, 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    const Vec a = _mm512_shuffle_f32x4(mixed[i], mixed[i + 4], 0x88);
    const Vec b = _mm512_shuffle_f32x4(mixed[i + 8], mixed[i + 12], 0x88);
    const Vec c = _mm512_shuffle_f32x4(mixed[i], mixed[i + 4], 0xdd);
    const Vec d = _mm512_shuffle_f32x4(mixed[i + 8], mixed[i + 12], 0xdd);
    square[i] = _mm512_shuffle_f32x4(a, b, 0x88), square[i + 8] = _mm512_shuffle_f32x4(a, b, 0xdd);
    square[i + 4] = _mm512_shuffle_f32x4(c, d, 0x88);
    square[i + 12] = _mm512_shuffle_f32x4(c, d, 0xdd);
  }
}

// For Winograd's convolution: 16-bit pairs.
constexpr int kWinogradTiles = 12;
SIGDCA_INLINE Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
SIGDCA_INLINE void add_pairs(Ints &sum, Quad quad, Weights8 weights) {
  sum = _mm512_add_epi32(sum, _mm512_madd_epi16(quad, weights));
}
SIGDCA_INLINE Ints quarter(Ints value) { return _mm512_srai_epi32(value, 2); }
SIGDCA_INLINE __m128 quarter_of(Vec value, int part) {
  return part == 0   ? _mm512_castps512_ps128(value)
         : part == 1 ? _mm512_extractf32x4_ps(value, 1)
         : part == 2 ? _mm512_extractf32x4_ps(value, 2)
                     : _mm512_extractf32x4_ps(value, 3);
}

}  // namespace
}  // namespace sigdca::avx512
