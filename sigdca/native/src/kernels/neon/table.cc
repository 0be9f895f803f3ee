// NEON's table, and its kernels of operators without weights.
#include "kernels/simd/vec_neon.h"

namespace sigdca::neon {

// Converts kLanes bytes.
SIGDCA_INLINE Vec from_bytes(const uint8_t *from) {
  uint32_t bytes;
  memcpy(&bytes, from, sizeof(bytes));
  const uint16x8_t halves = vmovl_u8(vcreate_u8(bytes));
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(halves)));
}
// Every second of the two vectors' values.
SIGDCA_INLINE Vec even(Vec low, Vec high) { return vuzp1q_f32(low, high); }
SIGDCA_INLINE Vec odd(Vec low, Vec high) { return vuzp2q_f32(low, high); }

}  // namespace sigdca::neon

#include "kernels/simd/avg_pool.h"
#include "kernels/simd/elementwise.h"
#include "kernels/simd/max_pool.h"

namespace sigdca {

const Kernels *neon_kernels() {
  static constexpr Kernels kTable = {
      "neon",
      neon::conv_kernels,
      neon::fc_kernels,
      neon::from_pixels,
      neon::max_pool,
      neon::avg_pool,
      neon::global_avg_pool,
      neon::clamp,
      neon::add,
      neon::scale_shift,
      neon::lrn,
      reference::softmax,
  };
  return &kTable;
}

}  // namespace sigdca
