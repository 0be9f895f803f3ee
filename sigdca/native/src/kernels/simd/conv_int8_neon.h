// NEON's vectors of integers for conv_int8_pack.h and conv_int8_tile.h. ARMv8.0 multiplies signed
// bytes by signed ones only, so all bytes are 128 less here.
#pragma once

#include "kernels/simd/vec_neon.h"

#define SIGDCA_METHOD inline __attribute__((always_inline))
#define SIGDCA_ALWAYS __attribute__((always_inline))

namespace sigdca::neon {
namespace {

constexpr int kInt8Vectors = 4, kInt8Pixels = 4;

using Ints = int32x4_t;
using Weights8 = int8x16_t;
struct Quad {
  int8x8_t first, second;  // two bytes each, again and again
};

SIGDCA_INLINE Ints no_ints() { return vdupq_n_s32(0); }
SIGDCA_INLINE Ints load_ints(const int32_t *from) { return vld1q_s32(from); }
SIGDCA_INLINE void store_ints(uint32_t *to, Ints value) {
  vst1q_u32(to, vreinterpretq_u32_s32(value));
}
SIGDCA_INLINE Ints subtract(Ints a, Ints b) { return vsubq_s32(a, b); }
SIGDCA_INLINE Vec to_floats(Ints value) { return vcvtq_f32_s32(value); }
SIGDCA_INLINE Ints rounded(Vec value) { return vcvtnq_s32_f32(value); }
SIGDCA_INLINE Ints flipped(Ints value) {
  return veorq_s32(value, vreinterpretq_s32_u32(vdupq_n_u32(0x80808080)));
}
template <int kBits>
SIGDCA_INLINE Ints put(Ints low, Ints high) {
  return vorrq_s32(low, vshlq_n_s32(high, kBits));
}

SIGDCA_INLINE Weights8 load_weights(const int8_t *from) { return vld1q_s8(from); }
SIGDCA_INLINE Quad load_quad(const uint8_t *from) {
  int16_t first, second;
  memcpy(&first, from, sizeof(first));
  memcpy(&second, from + 2, sizeof(second));
  return Quad{vreinterpret_s8_s16(vdup_n_s16(first)), vreinterpret_s8_s16(vdup_n_s16(second))};
}
SIGDCA_INLINE void add_products(Ints &sum, Quad quad, Weights8 weights) {
  const int16x8_t pairs = vmull_s8(quad.first, vget_low_s8(weights));
  sum = vpadalq_s16(sum, vmlal_s8(pairs, quad.second, vget_high_s8(weights)));
}

SIGDCA_INLINE void transpose(Vec (&square)[4]) {
  const float32x4_t a = vtrn1q_f32(square[0], square[1]), b = vtrn2q_f32(square[0], square[1]);
  const float32x4_t c = vtrn1q_f32(square[2], square[3]), d = vtrn2q_f32(square[2], square[3]);
  square[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
  square[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
  square[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
  square[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}

SIGDCA_INLINE void store_sixteens(uint8_t *to, size_t step, const Ints (&quads)[4]) {
  Vec square[4];
  for (int i = 0; i < 4; ++i) square[i] = vreinterpretq_f32_s32(quads[i]);
  transpose(square);
  for (int i = 0; i < 4; ++i) vst1q_u8(to + size_t(i) * step, vreinterpretq_u8_f32(square[i]));
}

}  // namespace
}  // namespace sigdca::neon
