// AVX2's fully connected kernels.
#include "kernels/simd/fc_costs.h"
#include "kernels/simd/vec_avx2.h"

namespace sigdca::avx2 {

namespace {

SIGDCA_INLINE uint32_t nonzero(Vec value) {
  const __m256 differs = _mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_NEQ_UQ);
  return static_cast<uint32_t>(_mm256_movemask_ps(differs));
}
SIGDCA_INLINE uint32_t list_lanes(Vec value, uint32_t first, uint32_t *to) {
  uint32_t count = 0;
  for (uint32_t mask = nonzero(value); mask != 0; mask &= mask - 1)
    to[count++] = first + static_cast<uint32_t>(__builtin_ctz(mask));
  return count;
}

using Ints = __m256i;
SIGDCA_INLINE Ints set1_int(int value) { return _mm256_set1_epi32(value); }
SIGDCA_INLINE Ints and_int(Ints a, Ints b) { return _mm256_and_si256(a, b); }
SIGDCA_INLINE Ints add_int(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
SIGDCA_INLINE Ints shift_right(Ints a, int bits) {
  return _mm256_srl_epi32(a, _mm_cvtsi32_si128(bits));
}
SIGDCA_INLINE Ints load_words(const uint16_t *from) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
}
// input[column] in the lanes where a < b, else 0.
SIGDCA_INLINE Vec gather_where_less(const float *input, Ints column, Ints a, Ints b) {
  return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), input, column,
                                  _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)), sizeof(float));
}

// Codebooks in registers, and in memory.
struct Book16 {
  Vec low, high;
  explicit Book16(const float *codebook) : low(load(codebook)), high(load(codebook + 8)) {}
  __attribute__((always_inline)) Vec get(Ints code) const {
    const Vec is_high = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28));
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code),
                            _mm256_permutevar8x32_ps(high, code), is_high);
  }
};
struct BookAny {
  const float *codebook;
  explicit BookAny(const float *from) : codebook(from) {}
  __attribute__((always_inline)) Vec get(Ints code) const {
    return _mm256_i32gather_ps(codebook, code, sizeof(float));
  }
};
using Book32 = BookAny;

SIGDCA_INLINE Ints zero_int() { return _mm256_setzero_si256(); }
SIGDCA_INLINE Ints load_int(const int32_t *from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
}
SIGDCA_INLINE Ints sub_int(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
SIGDCA_INLINE Vec to_float(Ints value) { return _mm256_cvtepi32_ps(value); }
SIGDCA_INLINE void to_int8(Vec value, int8_t *to) {
  const __m256i whole = _mm256_cvtps_epi32(value);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i *>(to), _mm_packs_epi16(words, words));
}

constexpr fc::Costs kCosts = {0.5, {0.75, 0.95, 1.25, 2.3}, 0.034, 0.019, 0.43};

// Larger squares than of 4 by 4 are not turned at once.
constexpr bool kTransposes16 = false;
SIGDCA_INLINE void transpose_16(const float *, size_t, float *, size_t) {}

// Four inputs for all lanes. The sum of two products fits 16 bits, as no number is -128.
constexpr bool kOffsetInputs = false;
template <bool kSigned>
struct Quad {
  __m256i input, size;
  __attribute__((always_inline)) explicit Quad(const int8_t *from) {
    int32_t bytes;
    memcpy(&bytes, from, sizeof(bytes));
    input = _mm256_set1_epi32(bytes);
    size = _mm256_abs_epi8(input);
  }
  __attribute__((always_inline)) Ints dot(Ints sum, const int8_t *from) const {
    __m256i weights = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
    if (kSigned) weights = _mm256_sign_epi8(weights, input);
    const __m256i pairs = _mm256_maddubs_epi16(kSigned ? size : input, weights);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

}  // namespace
}  // namespace sigdca::avx2

#include "kernels/simd/fc_choice.h"
#include "kernels/simd/fc_gather.h"
#include "kernels/simd/fc_tables.h"

namespace sigdca::avx2 {
namespace {

double word_ns(const LayerRequest &request, const Weights &weights) {
  const bool in_registers = weights.codebook.size() <= 16;
  if (request.cpu.amd) return in_registers ? 0.4 : 0.63;
  return in_registers ? 0.22 : 0.5;
}

double gather_cost(const LayerRequest &request, const Weights &weights) {
  if (!fc::can_gather(weights)) return -1;
  return (20 + word_ns(request, weights) * fc::gather_words(weights)) * request.max_batch;
}
sigdca_status prepare_gather(const Context &context, const LayerRequest &request,
                             const Weights &weights, const Epilogue &epilogue,
                             PreparedLayer **layer) {
  return fc::prepare_gather(context, request, kLanes, weights, epilogue, layer);
}
size_t no_scratch(const PreparedLayer *, uint32_t) { return 0; }

constexpr FcKernel kGather = {"sparse-gather",    gather_cost,      prepare_gather,
                              fc::release_gather, fc::gather_bytes, no_scratch,
                              run_gather};

double choice_cost(const LayerRequest &request, const Weights &weights) {
  const double gather = gather_cost(request, weights), skip = columns_cost(request, weights);
  return gather < 0 ? -1 : 0.98 * (gather < skip ? gather : skip);
}
double most_nonzero(const LayerRequest &request, const Weights &weights,
                    const PreparedLayer *gather) {
  const double words = static_cast<double>(fc::gather_words(gather));
  return word_ns(request, weights) * words * request.max_batch *
         kNonzeroInputs * weights.cols / columns_cost(request, weights);
}
sigdca_status prepare_choice(const Context &context, const LayerRequest &request,
                             const Weights &weights, const Epilogue &epilogue,
                             PreparedLayer **layer) {
  return fc::prepare_choice(context, request, weights, epilogue,
                            {&kGather, &kColumns, most_nonzero}, layer);
}
constexpr FcKernel kChoice = {"sparse-choice",    choice_cost,      prepare_choice,
                              fc::release_choice, fc::choice_bytes, fc::choice_scratch,
                              run_choice};

}  // namespace

const FcKernel *const fc_kernels[] = {&kColumns, &kGather, &kChoice, &kBatch,
                                      &kDense,   &kInt8,  nullptr};

}  // namespace sigdca::avx2
