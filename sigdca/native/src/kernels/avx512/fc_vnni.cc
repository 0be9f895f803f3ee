// AVX-512's fully connected kernels with 8-bit dot products (VNNI) and permutations (VBMI).
#include "kernels/avx512/fc_lanes.h"

namespace sigdca::avx512 {
namespace {

// Four inputs for all lanes. Inputs are unsigned to the processor: where some are negative, all are
// 128 more, and the sums are corrected afterwards.
constexpr bool kOffsetInputs = true;
template <bool kSigned>
struct Quad {
  __m512i input;
  __attribute__((always_inline)) explicit Quad(const int8_t *from) : input(broadcast_quad(from)) {
    if (kSigned) input = _mm512_xor_si512(input, _mm512_set1_epi8(-128));
  }
  __attribute__((always_inline)) Ints dot(Ints sum, const int8_t *from) const {
    return _mm512_dpbusd_epi32(sum, input, _mm512_loadu_si512(from));
  }
};

}  // namespace
}  // namespace sigdca::avx512

#include "kernels/simd/fc_choice.h"
#include "kernels/simd/fc_int8.h"

namespace sigdca::avx512 {

// fc.cc
double fc_int8_cost(const LayerRequest &request, const Weights &weights);
double fc_int8_sparse_cost(const LayerRequest &request, const Weights &weights);

namespace {

double vnni_cost(const LayerRequest &request, const Weights &weights) {
  return request.cpu.avx512_vnni ? fc_int8_cost(request, weights) : -1;
}
sigdca_status prepare_int8(const Context &context, const LayerRequest &request,
                           const Weights &weights, const Epilogue &epilogue,
                           PreparedLayer **layer) {
  return fc::prepare_int8(context, request, {kLanes}, weights, epilogue, layer);
}

// The sums of a group's rows.
SIGDCA_INLINE Ints sparse_group(const fc::Int8SparseLayer &layer, uint32_t group,
                                const uint8_t *input) {
  // Two sums: one would wait for itself.
  Ints sum[2] = {zero_int(), zero_int()};
  const uint8_t *from = layer.steps.data() + size_t{layer.first_step[group]} * 128;
  const uint16_t *block = layer.block.data() + layer.first_step[group];
  const uint32_t count = layer.first_step[group + 1] - layer.first_step[group];
  const auto step = [&](Ints before, uint32_t i) {
    const __m512i inputs = _mm512_permutexvar_epi8(
        _mm512_loadu_si512(from + size_t{i} * 128),
        _mm512_loadu_si512(input + size_t{block[i]} * fc::kSparseBlock));
    return _mm512_dpbusd_epi32(before, inputs, _mm512_loadu_si512(from + size_t{i} * 128 + 64));
  };
  uint32_t i = 0;
  for (; i + 2 <= count; i += 2) sum[0] = step(sum[0], i), sum[1] = step(sum[1], i + 1);
  if (i < count) sum[0] = step(sum[0], i);
  return _mm512_add_epi32(sum[0], sum[1]);
}

void run_int8_sparse(const PreparedLayer *prepared, const Team &team, const float *input, size_t n,
                     float *output, void *scratch) {
  const fc::Int8SparseLayer &layer = *reinterpret_cast<const fc::Int8SparseLayer *>(prepared);
  const size_t bytes = size_t{layer.num_blocks} * fc::kSparseBlock;
  uint8_t *numbers = static_cast<uint8_t *>(scratch) + team.rank * bytes;
  size_t begin = 0, end = 0;
  team.part(layer.num_groups, 1, &begin, &end);
  for (size_t image = 0; image < n; ++image) {
    bool is_signed = false;
    const uint32_t quads = (layer.cols + 3) / 4;
    const float scale = quantise(input + image * layer.cols, layer.cols, quads,
                                 reinterpret_cast<int8_t *>(numbers), &is_signed);
    memset(numbers + size_t{quads} * 4, 0, bytes - size_t{quads} * 4);
    if (is_signed)
      for (size_t i = 0; i < bytes; i += 64)
        _mm512_storeu_si512(numbers + i, _mm512_xor_si512(_mm512_loadu_si512(numbers + i),
                                                          _mm512_set1_epi8(-128)));
    float *to = output + image * layer.rows;
    for (size_t group = begin; group < end; ++group) {
      const size_t row = group * kLanes;
      Ints sum = sparse_group(layer, static_cast<uint32_t>(group), numbers);
      if (is_signed) sum = sub_int(sum, load_int(layer.row_offset.data() + row));
      const Vec value = mul(to_float(sum), mul(set1(scale), load(layer.row_scale.data() + row)));
      const size_t rows = layer.rows - row < kLanes ? layer.rows - row : size_t{kLanes};
      store_part(to + row, value, rows);
      finish_rows(layer, row, rows, to + row);
    }
  }
}

double sparse_cost(const LayerRequest &request, const Weights &weights) {
  if (!request.cpu.avx512_vnni || !request.cpu.avx512_vbmi) return -1;
  return fc_int8_sparse_cost(request, weights);
}

}  // namespace

extern const FcKernel fc_int8_sparse;
const FcKernel fc_int8_sparse = {"int8-sparse",
                                 sparse_cost,
                                 fc::prepare_int8_sparse,
                                 fc::release_int8_sparse,
                                 fc::int8_sparse_bytes,
                                 fc::int8_sparse_scratch,
                                 run_int8_sparse};
extern const FcKernel fc_int8_vnni;
const FcKernel fc_int8_vnni = {"int8",           vnni_cost,      prepare_int8,
                               fc::release_int8, fc::int8_bytes, fc::int8_scratch,
                               run_int8};

namespace {

// Both, for layers so small that they may: whether a third of the inputs is zero or most of them
// decides, and only an image's inputs tell.
double choice_cost(const LayerRequest &request, const Weights &weights) {
  constexpr double kMostBytes = 512 * 1024, kLeastColumns = 256;
  const double sparse = sparse_cost(request, weights), all = vnni_cost(request, weights);
  if (sparse < 0 || all < 0 || weights.cols < kLeastColumns) return -1;
  if (static_cast<double>(weights.rows) * weights.cols > kMostBytes) return -1;
  return all < 2 * sparse ? 0.98 * (sparse < all ? sparse : all) : -1;
}
// About: a quad is skipped where all four inputs are zero, and zeros stand together.
double most_nonzero(const LayerRequest &request, const Weights &weights, const PreparedLayer *) {
  return 0.3 * weights.cols * sparse_cost(request, weights) / vnni_cost(request, weights);
}
sigdca_status prepare_choice(const Context &context, const LayerRequest &request,
                             const Weights &weights, const Epilogue &epilogue,
                             PreparedLayer **layer) {
  return fc::prepare_choice(context, request, weights, epilogue,
                            {&fc_int8_sparse, &fc_int8_vnni, most_nonzero}, layer);
}

}  // namespace

extern const FcKernel fc_int8_choice;
const FcKernel fc_int8_choice = {"int8-choice",
                                 choice_cost,
                                 prepare_choice,
                                 fc::release_choice,
                                 fc::choice_bytes,
                                 fc::choice_scratch,
                                 run_choice};

}  // namespace sigdca::avx512
