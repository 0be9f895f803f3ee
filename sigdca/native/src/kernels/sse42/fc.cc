// SSE4.2's fully connected kernels.
#include "kernels/simd/fc_costs.h"
#include "kernels/simd/vec_sse42.h"

namespace sigdca::sse42 {
namespace {

SIGDCA_INLINE uint32_t list_lanes(Vec value, uint32_t first, uint32_t *to) {
  const __m128 differs = _mm_cmpneq_ps(value, _mm_setzero_ps());
  uint32_t count = 0;
  for (uint32_t mask = static_cast<uint32_t>(_mm_movemask_ps(differs)); mask != 0;
       mask &= mask - 1)
    to[count++] = first + static_cast<uint32_t>(__builtin_ctz(mask));
  return count;
}

using Ints = __m128i;
SIGDCA_INLINE Ints zero_int() { return _mm_setzero_si128(); }
SIGDCA_INLINE Ints load_int(const int32_t *from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
}
SIGDCA_INLINE Ints sub_int(Ints a, Ints b) { return _mm_sub_epi32(a, b); }
SIGDCA_INLINE Vec to_float(Ints value) { return _mm_cvtepi32_ps(value); }
SIGDCA_INLINE void to_int8(Vec value, int8_t *to) {
  const __m128i words = _mm_packs_epi32(_mm_cvtps_epi32(value), _mm_setzero_si128());
  const int32_t bytes = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
  memcpy(to, &bytes, sizeof(bytes));
}

constexpr fc::Costs kCosts = {0.5, {0.65, 0.75, 1.1, 1.95}, 0.056, 0.05, 0.35};

// Larger squares than of 4 by 4 are not turned at once.
constexpr bool kTransposes16 = false;
SIGDCA_INLINE void transpose_16(const float *, size_t, float *, size_t) {}

// Four inputs for all lanes. The sum of two products fits 16 bits, as no number is -128.
constexpr bool kOffsetInputs = false;
template <bool kSigned>
struct Quad {
  __m128i input, size;
  __attribute__((always_inline)) explicit Quad(const int8_t *from) {
    int32_t bytes;
    memcpy(&bytes, from, sizeof(bytes));
    input = _mm_set1_epi32(bytes);
    size = _mm_abs_epi8(input);
  }
  __attribute__((always_inline)) Ints dot(Ints sum, const int8_t *from) const {
    __m128i weights = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
    if (kSigned) weights = _mm_sign_epi8(weights, input);
    const __m128i pairs = _mm_maddubs_epi16(kSigned ? size : input, weights);
    return _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
  }
};

}  // namespace
}  // namespace sigdca::sse42

#include "kernels/simd/fc_tables.h"

namespace sigdca::sse42 {

const FcKernel *const fc_kernels[] = {&kColumns, &kBatch, &kDense, &kInt8, nullptr};

}  // namespace sigdca::sse42
