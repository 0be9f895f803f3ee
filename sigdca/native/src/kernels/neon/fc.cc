// NEON's fully connected kernels.
#include "kernels/simd/fc_costs.h"
#include "kernels/simd/vec_neon.h"

namespace sigdca::neon {
namespace {

SIGDCA_INLINE uint32_t list_lanes(Vec value, uint32_t first, uint32_t *to) {
  const uint32x4_t bits = {1, 2, 4, 8};
  uint32_t count = 0;
  for (uint32_t mask = vaddvq_u32(vbicq_u32(bits, vceqzq_f32(value))); mask != 0;
       mask &= mask - 1)
    to[count++] = first + static_cast<uint32_t>(__builtin_ctz(mask));
  return count;
}

using Ints = int32x4_t;
SIGDCA_INLINE Ints zero_int() { return vdupq_n_s32(0); }
SIGDCA_INLINE Ints load_int(const int32_t *from) { return vld1q_s32(from); }
SIGDCA_INLINE Ints sub_int(Ints a, Ints b) { return vsubq_s32(a, b); }
SIGDCA_INLINE Vec to_float(Ints value) { return vcvtq_f32_s32(value); }
SIGDCA_INLINE void to_int8(Vec value, int8_t *to) {
  const int16x4_t words = vqmovn_s32(vcvtnq_s32_f32(value));
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
  vst1_lane_s32(reinterpret_cast<int32_t *>(to), vreinterpret_s32_s8(bytes), 0);
}

constexpr fc::Costs kCosts = {2, {2.5, 3, 4.5, 8}, 0.22, 0.24, 1.8};

// Larger squares than of 4 by 4 are not turned at once.
constexpr bool kTransposes16 = false;
SIGDCA_INLINE void transpose_16(const float *, size_t, float *, size_t) {}

// Four inputs for all lanes. The sum of two products fits 16 bits, as no number is -128.
constexpr bool kOffsetInputs = false;
template <bool kSigned>
struct Quad {
  int8x8_t input;
  __attribute__((always_inline)) explicit Quad(const int8_t *from)
      : input(vreinterpret_s8_s32(vld1_dup_s32(reinterpret_cast<const int32_t *>(from)))) {}
  __attribute__((always_inline)) Ints dot(Ints sum, const int8_t *from) const {
    const int8x16_t weights = vld1q_s8(from);
    const int16x8_t low = vmull_s8(vget_low_s8(weights), input);
    const int16x8_t high = vmull_s8(vget_high_s8(weights), input);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
  }
};

}  // namespace
}  // namespace sigdca::neon

#include "kernels/simd/fc_tables.h"

namespace sigdca::neon {

const FcKernel *const fc_kernels[] = {&kColumns, &kBatch, &kDense, &kInt8, nullptr};

}  // namespace sigdca::neon
