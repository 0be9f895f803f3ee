// AVX-512's fully connected kernels.
#include "kernels/avx512/fc_lanes.h"
#include "kernels/simd/fc_costs.h"

namespace sigdca::avx512 {
namespace {

SIGDCA_INLINE Ints set1_int(int value) { return _mm512_set1_epi32(value); }
SIGDCA_INLINE Ints and_int(Ints a, Ints b) { return _mm512_and_si512(a, b); }
SIGDCA_INLINE Ints add_int(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
SIGDCA_INLINE Ints shift_right(Ints a, int bits) {
  return _mm512_srl_epi32(a, _mm_cvtsi32_si128(bits));
}
SIGDCA_INLINE Ints load_words(const uint16_t *from) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
}
// input[column] in the lanes where a < b, else 0.
SIGDCA_INLINE Vec gather_where_less(const float *input, Ints column, Ints a, Ints b) {
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), _mm512_cmplt_epi32_mask(a, b), column,
                                  input, sizeof(float));
}

// Codebooks in registers, and in memory.
struct Book16 {
  Vec low;
  explicit Book16(const float *codebook) : low(load(codebook)) {}
  __attribute__((always_inline)) Vec get(Ints code) const {
    return _mm512_permutexvar_ps(code, low);
  }
};
struct Book32 {
  Vec low, high;
  explicit Book32(const float *codebook) : low(load(codebook)), high(load(codebook + 16)) {}
  __attribute__((always_inline)) Vec get(Ints code) const {
    return _mm512_permutex2var_ps(low, code, high);
  }
};
struct BookAny {
  const float *codebook;
  explicit BookAny(const float *from) : codebook(from) {}
  __attribute__((always_inline)) Vec get(Ints code) const {
    return _mm512_i32gather_ps(code, codebook, sizeof(float));
  }
};

constexpr fc::Costs kCosts = {0.5, {0.85, 1.0, 1.5, 3.2}, 0.024, 0.0125, 0.36};

// to[col][row] = from[row][col] of 16 rows and columns.
constexpr bool kTransposes16 = true;
static inline void transpose_16(const float *from, size_t from_stride, float *to,
                                size_t to_stride) {
  for (int col = 0; col < 16; col += 4) {
    __m512 rows[4];  // vector i: of rows i, i + 4, i + 8, i + 12 four columns each
    for (int i = 0; i < 4; ++i) {
      const float *p = from + i * from_stride + col;
      rows[i] = _mm512_castps128_ps512(_mm_loadu_ps(p));
      rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(p + 4 * from_stride), 1);
      rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(p + 8 * from_stride), 2);
      rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(p + 12 * from_stride), 3);
    }
    const __m512d low_01 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1]));
    const __m512d high_01 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
    const __m512d low_23 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
    const __m512d high_23 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
    float *q = to + col * to_stride;
    store(q, _mm512_castpd_ps(_mm512_unpacklo_pd(low_01, low_23)));
    store(q + to_stride, _mm512_castpd_ps(_mm512_unpackhi_pd(low_01, low_23)));
    store(q + 2 * to_stride, _mm512_castpd_ps(_mm512_unpacklo_pd(high_01, high_23)));
    store(q + 3 * to_stride, _mm512_castpd_ps(_mm512_unpackhi_pd(high_01, high_23)));
  }
}

// Four inputs for all lanes. The sum of two products fits 16 bits, as no number is -128.
constexpr bool kOffsetInputs = false;
template <bool kSigned>
struct Quad {
  __m512i input;
  __mmask64 negative;
  __attribute__((always_inline)) explicit Quad(const int8_t *from)
      : input(broadcast_quad(from)), negative(_mm512_movepi8_mask(input)) {
    if (kSigned) input = _mm512_abs_epi8(input);
  }
  __attribute__((always_inline)) Ints dot(Ints sum, const int8_t *from) const {
    __m512i weights = _mm512_loadu_si512(from);
    if (kSigned)
      weights = _mm512_mask_sub_epi8(weights, negative, _mm512_setzero_si512(), weights);
    const __m512i pairs = _mm512_maddubs_epi16(input, weights);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
};

}  // namespace
}  // namespace sigdca::avx512

#include "kernels/simd/fc_choice.h"
#include "kernels/simd/fc_gather.h"
#include "kernels/simd/fc_registers.h"
#include "kernels/simd/fc_tables.h"

namespace sigdca::avx512 {

// fc_vnni.cc, and what it is given
extern const FcKernel fc_int8_vnni, fc_int8_sparse, fc_int8_choice;
double fc_int8_cost(const LayerRequest &request, const Weights &weights);
double fc_int8_sparse_cost(const LayerRequest &request, const Weights &weights);

namespace {

double word_ns(const LayerRequest &request, const Weights &weights) {
  const bool in_registers = weights.codebook.size() <= 32;
  if (request.cpu.amd) return in_registers ? 0.39 : 0.76;
  return in_registers ? 0.17 : 0.35;
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

double registers_cost(const LayerRequest &request, const Weights &weights) {
  if (!fc::can_use_registers(weights)) return -1;
  const double vectors = (weights.rows + kLanes - 1) / kLanes;
  const double compute = (1.2 + (request.cpu.amd ? 0.63 : 0.45) * vectors) * weights.cols;
  const double stream = stream_ns(request, vectors / fc::kCodesPerWord * 4 * kLanes * weights.cols);
  return request.max_batch * (20 + kNonzeroInputs * (compute > stream ? compute : stream));
}
constexpr FcKernel kInRegisters = {
    "sparse-registers",    registers_cost,      fc::prepare_registers,
    fc::release_registers, fc::registers_bytes, fc::registers_scratch,
    run_registers};

// The cheaper one of those that skip zeros.
const FcKernel &best_skip(const LayerRequest &request, const Weights &weights) {
  const double registers = registers_cost(request, weights);
  return registers >= 0 && registers < columns_cost(request, weights) ? kInRegisters : kColumns;
}
double choice_cost(const LayerRequest &request, const Weights &weights) {
  const double gather = gather_cost(request, weights);
  const double skip = best_skip(request, weights).cost_ns(request, weights);
  return gather < 0 ? -1 : 0.98 * (gather < skip ? gather : skip);
}
double most_nonzero(const LayerRequest &request, const Weights &weights,
                    const PreparedLayer *gather) {
  const double words = static_cast<double>(fc::gather_words(gather));
  return word_ns(request, weights) * words * request.max_batch *
         kNonzeroInputs * weights.cols / best_skip(request, weights).cost_ns(request, weights);
}
sigdca_status prepare_choice(const Context &context, const LayerRequest &request,
                             const Weights &weights, const Epilogue &epilogue,
                             PreparedLayer **layer) {
  return fc::prepare_choice(context, request, weights, epilogue,
                            {&kGather, &best_skip(request, weights), most_nonzero}, layer);
}
constexpr FcKernel kChoice = {"sparse-choice",    choice_cost,      prepare_choice,
                              fc::release_choice, fc::choice_bytes, fc::choice_scratch,
                              run_choice};

double plain_int8_cost(const LayerRequest &request, const Weights &weights) {
  return request.cpu.avx512_vnni ? -1 : int8_cost(request, weights);
}
constexpr FcKernel kPlainInt8 = {"int8",           plain_int8_cost, prepare_int8,
                                 fc::release_int8, fc::int8_bytes,  fc::int8_scratch,
                                 run_int8};

}  // namespace

double fc_int8_cost(const LayerRequest &request, const Weights &weights) {
  return int8_cost(request, weights);
}

double fc_int8_sparse_cost(const LayerRequest &request, const Weights &weights) {
  if (request.profile != SIGDCA_PROFILE_INT8 || weights.cols > fc::kInt8MostCols) return -1;
  const double groups = (weights.rows + kLanes - 1) / kLanes;
  const double blocks = (weights.cols + fc::kSparseBlock - 1) / fc::kSparseBlock;
  const double mean = static_cast<double>(weights.num_nonzero()) / (groups * kLanes * blocks);
  // Four weights a step; the fullest of 16 rows counts.
  const double steps = groups * blocks * ((mean + 1.8 * __builtin_sqrt(mean)) / 4 + 0.5);
  const double compute = 0.85 * steps, stream = stream_ns(request, 128 * steps);
  return request.max_batch *
         (40 + 0.25 * weights.cols + 4 * groups + (compute > stream ? compute : stream));
}

// AMX's table has them too.
extern const FcKernel fc_columns, fc_gather, fc_in_registers, fc_choice, fc_batch, fc_dense;
const FcKernel fc_columns = kColumns, fc_gather = kGather, fc_in_registers = kInRegisters,
               fc_choice = kChoice, fc_batch = kBatch, fc_dense = kDense;

const FcKernel *const fc_kernels[] = {
    &kColumns, &kGather,    &kInRegisters, &kChoice,        &kBatch,
    &kDense,   &kPlainInt8, &fc_int8_vnni, &fc_int8_sparse,
    &fc_int8_choice, nullptr};

}  // namespace sigdca::avx512
