// What the x86 instruction sets' integers share.
#pragma once

#define SIGDCA_METHOD inline __attribute__((always_inline))
#define SIGDCA_ALWAYS __attribute__((always_inline))

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// A 4 by 4 square of 32-bit words.
SIGDCA_INLINE void transpose_words(__m128i (&rows)[4]) {
  const __m128i a = _mm_unpacklo_epi32(rows[0], rows[1]), b = _mm_unpacklo_epi32(rows[2], rows[3]);
  const __m128i c = _mm_unpackhi_epi32(rows[0], rows[1]), d = _mm_unpackhi_epi32(rows[2], rows[3]);
  rows[0] = _mm_unpacklo_epi64(a, b), rows[1] = _mm_unpackhi_epi64(a, b);
  rows[2] = _mm_unpacklo_epi64(c, d), rows[3] = _mm_unpackhi_epi64(c, d);
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
