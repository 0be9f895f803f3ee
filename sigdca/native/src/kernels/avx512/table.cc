// AVX-512's table, and its kernels of operators without weights.
#include "kernels/simd/vec_avx512.h"

namespace sigdca::avx512 {

// Converts kLanes bytes.
SIGDCA_INLINE Vec from_bytes(const uint8_t *from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}
// Every second of the two vectors' values.
SIGDCA_INLINE Vec even(Vec low, Vec high) {
  const __m512i places =
      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_permutex2var_ps(low, places, high);
}
SIGDCA_INLINE Vec odd(Vec low, Vec high) {
  const __m512i places =
      _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return _mm512_permutex2var_ps(low, places, high);
}

// Maximum pooling of images that are half a vector wide: two rows of outputs from four of inputs.
#define SIGDCA_NARROW_ROWS
constexpr size_t kNarrow = 8;

SIGDCA_INLINE void max_narrow_rows(const float *from, float *to) {
  const Vec low = load(from), high = load(from + kLanes);
  const Vec rows = max_or_nan(even(low, high), odd(low, high));  // a quarter each
  const Vec pairs = max_or_nan(rows, _mm512_shuffle_f32x4(rows, rows, 0xb1));
  _mm256_storeu_ps(to, _mm512_castps512_ps256(_mm512_shuffle_f32x4(pairs, pairs, 0x08)));
}

}  // namespace sigdca::avx512

#include "kernels/simd/avg_pool.h"
#include "kernels/simd/elementwise.h"
#include "kernels/simd/max_pool.h"

namespace sigdca {

const Kernels *avx512_kernels() {
  static constexpr Kernels kTable = {
      "avx512",
      avx512::conv_kernels,
      avx512::fc_kernels,
      avx512::from_pixels,
      avx512::max_pool,
      avx512::avg_pool,
      avx512::global_avg_pool,
      avx512::clamp,
      avx512::add,
      avx512::scale_shift,
      avx512::lrn,
      reference::softmax,
  };
  return &kTable;
}

}  // namespace sigdca
