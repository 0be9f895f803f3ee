// Four vectors of 4 * kLanes values side by side, and each fourth of these values. Include a vec_<isa>.h before.
#pragma once

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

#if defined(__aarch64__)

SIGDCA_INLINE void split4(const Vec *values, Vec *parts) {
  const float32x4x2_t even = vuzpq_f32(values[0], values[1]), odd = vuzpq_f32(values[2], values[3]);
  const float32x4x2_t low = vuzpq_f32(even.val[0], odd.val[0]);
  const float32x4x2_t high = vuzpq_f32(even.val[1], odd.val[1]);
  parts[0] = low.val[0], parts[1] = high.val[0], parts[2] = low.val[1], parts[3] = high.val[1];
}
SIGDCA_INLINE void join4(const Vec *parts, Vec *values) { split4(parts, values); }

#else

#if defined(__AVX512F__)
#define SIGDCA_UNPACK_LOW _mm512_unpacklo_ps
#define SIGDCA_UNPACK_HIGH _mm512_unpackhi_ps
#define SIGDCA_SHUFFLE _mm512_shuffle_ps
#elif defined(__AVX2__)
#define SIGDCA_UNPACK_LOW _mm256_unpacklo_ps
#define SIGDCA_UNPACK_HIGH _mm256_unpackhi_ps
#define SIGDCA_SHUFFLE _mm256_shuffle_ps
#else
#define SIGDCA_UNPACK_LOW _mm_unpacklo_ps
#define SIGDCA_UNPACK_HIGH _mm_unpackhi_ps
#define SIGDCA_SHUFFLE _mm_shuffle_ps
#endif

// Transposes each 4 x 4 values of the vectors' quarters (of 128 bits).
SIGDCA_INLINE void transpose_values(const Vec *from, Vec *to) {
  const Vec low0 = SIGDCA_UNPACK_LOW(from[0], from[1]), high0 = SIGDCA_UNPACK_HIGH(from[0], from[1]);
  const Vec low1 = SIGDCA_UNPACK_LOW(from[2], from[3]), high1 = SIGDCA_UNPACK_HIGH(from[2], from[3]);
  to[0] = SIGDCA_SHUFFLE(low0, low1, 0x44), to[1] = SIGDCA_SHUFFLE(low0, low1, 0xee);
  to[2] = SIGDCA_SHUFFLE(high0, high1, 0x44), to[3] = SIGDCA_SHUFFLE(high0, high1, 0xee);
}

// Exchanges the vectors' quarters as `split` needs it, or back.
SIGDCA_INLINE void transpose_quarters(const Vec *from, Vec *to, bool split) {
#if defined(__AVX512F__)
  (void)split;
  const Vec a = _mm512_shuffle_f32x4(from[0], from[1], 0x88);
  const Vec b = _mm512_shuffle_f32x4(from[2], from[3], 0x88);
  const Vec c = _mm512_shuffle_f32x4(from[0], from[1], 0xdd);
  const Vec d = _mm512_shuffle_f32x4(from[2], from[3], 0xdd);
  to[0] = _mm512_shuffle_f32x4(a, b, 0x88), to[2] = _mm512_shuffle_f32x4(a, b, 0xdd);
  to[1] = _mm512_shuffle_f32x4(c, d, 0x88), to[3] = _mm512_shuffle_f32x4(c, d, 0xdd);
#elif defined(__AVX2__)
  const int second = split ? 2 : 1;
  const Vec a = from[0], b = from[second], c = from[3 - second], d = from[3];
  const Vec low0 = _mm256_permute2f128_ps(a, b, 0x20), high0 = _mm256_permute2f128_ps(a, b, 0x31);
  const Vec low1 = _mm256_permute2f128_ps(c, d, 0x20), high1 = _mm256_permute2f128_ps(c, d, 0x31);
  to[0] = low0, to[3 - second] = high0, to[second] = low1, to[3] = high1;
#else
  (void)split;
  for (int i = 0; i < 4; ++i) to[i] = from[i];
#endif
}

// parts[i] gets the values i, i + 4, i + 8, ... of the four vectors.
SIGDCA_INLINE void split4(const Vec *values, Vec *parts) {
  Vec quarters[4];
  transpose_quarters(values, quarters, true);
  transpose_values(quarters, parts);
}

// Undoes split4.
SIGDCA_INLINE void join4(const Vec *parts, Vec *values) {
  Vec quarters[4];
  transpose_values(parts, quarters);
  transpose_quarters(quarters, values, false);
}

#undef SIGDCA_UNPACK_LOW
#undef SIGDCA_UNPACK_HIGH
#undef SIGDCA_SHUFFLE

#endif

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
