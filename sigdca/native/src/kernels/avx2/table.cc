// AVX2's table, and its kernels of operators without weights.
#include "kernels/simd/vec_avx2.h"

namespace sigdca::avx2 {

// Converts kLanes bytes.
SIGDCA_INLINE Vec from_bytes(const uint8_t *from) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(from));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}
// Shuffles stay in their halves: the quarters come out as 0 2 1 3.
SIGDCA_INLINE Vec in_order(Vec mixed) {
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
}
// Every second of the two vectors' values.
SIGDCA_INLINE Vec even(Vec low, Vec high) { return in_order(_mm256_shuffle_ps(low, high, 0x88)); }
SIGDCA_INLINE Vec odd(Vec low, Vec high) { return in_order(_mm256_shuffle_ps(low, high, 0xdd)); }

}  // namespace sigdca::avx2

#include "kernels/simd/avg_pool.h"
#include "kernels/simd/elementwise.h"
#include "kernels/simd/max_pool.h"

namespace sigdca {

const Kernels *avx2_kernels() {
  static constexpr Kernels kTable = {
      "avx2",
      avx2::conv_kernels,
      avx2::fc_kernels,
      avx2::from_pixels,
      avx2::max_pool,
      avx2::avg_pool,
      avx2::global_avg_pool,
      avx2::clamp,
      avx2::add,
      avx2::scale_shift,
      avx2::lrn,
      reference::softmax,
  };
  return &kTable;
}

}  // namespace sigdca
