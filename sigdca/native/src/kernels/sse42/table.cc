// SSE4.2's table, and its kernels of operators without weights.
#include "kernels/simd/vec_sse42.h"

namespace sigdca::sse42 {

// Converts kLanes bytes.
SIGDCA_INLINE Vec from_bytes(const uint8_t *from) {
  int32_t bytes;
  memcpy(&bytes, from, sizeof(bytes));
  return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes)));
}
// Every second of the two vectors' values.
SIGDCA_INLINE Vec even(Vec low, Vec high) { return _mm_shuffle_ps(low, high, 0x88); }
SIGDCA_INLINE Vec odd(Vec low, Vec high) { return _mm_shuffle_ps(low, high, 0xdd); }

}  // namespace sigdca::sse42

#include "kernels/simd/avg_pool.h"
#include "kernels/simd/elementwise.h"
#include "kernels/simd/max_pool.h"

namespace sigdca {

const Kernels *sse42_kernels() {
  static constexpr Kernels kTable = {
      "sse4.2",
      sse42::conv_kernels,
      sse42::fc_kernels,
      sse42::from_pixels,
      sse42::max_pool,
      sse42::avg_pool,
      sse42::global_avg_pool,
      sse42::clamp,
      sse42::add,
      sse42::scale_shift,
      sse42::lrn,
      reference::softmax,
  };
  return &kTable;
}

}  // namespace sigdca
