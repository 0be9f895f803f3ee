// Fully connected, sums in registers: each column that is not skipped looks up its products. For
// AVX-512, whose permutations look up 32 values.
#pragma once

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

template <int kVectors>
static void registers_panel(const fc::RegistersLayer &layer, const uint32_t *words,
                            const float *input, const uint32_t *columns, size_t count,
                            float *sums) {
  constexpr int kPerWord = static_cast<int>(fc::kCodesPerWord);
  constexpr int kGroups = (kVectors + kPerWord - 1) / kPerWord;
  const Vec low = load(layer.codebook), high = load(layer.codebook + kLanes);
  Vec sum[kVectors];
#pragma GCC unroll 24
  for (int v = 0; v < kVectors; ++v) sum[v] = zero();
  for (size_t k = 0; k < count; ++k) {
    const uint32_t column = columns[k];
    const Vec x = broadcast(input + column);
    const Vec low_products = mul(low, x), high_products = mul(high, x);
    const uint32_t *from = words + size_t{column} * (kGroups * kLanes);
#pragma GCC unroll 24
    for (int v = 0; v < kVectors; ++v) {
      const __m512i word = _mm512_load_si512(from + v / kPerWord * kLanes);
      const __m512i code = _mm512_srli_epi32(word, v % kPerWord * 5);
      sum[v] = add(sum[v], _mm512_permutex2var_ps(low_products, code, high_products));
    }
  }
#pragma GCC unroll 24
  for (int v = 0; v < kVectors; ++v) store(sums + v * kLanes, sum[v]);
}

using RegistersPanel = void (*)(const fc::RegistersLayer &, const uint32_t *, const float *,
                                const uint32_t *, size_t, float *);
constexpr RegistersPanel kRegistersPanels[fc::kMostVectors] = {
    registers_panel<1>,  registers_panel<2>,  registers_panel<3>,  registers_panel<4>,
    registers_panel<5>,  registers_panel<6>,  registers_panel<7>,  registers_panel<8>,
    registers_panel<9>,  registers_panel<10>, registers_panel<11>, registers_panel<12>,
    registers_panel<13>, registers_panel<14>, registers_panel<15>, registers_panel<16>,
    registers_panel<17>, registers_panel<18>, registers_panel<19>, registers_panel<20>,
    registers_panel<21>, registers_panel<22>, registers_panel<23>, registers_panel<24>,
};

static void registers_image(const fc::RegistersLayer &layer, size_t begin, size_t end,
                            const float *input, const uint32_t *columns, size_t count,
                            float *output) {
  alignas(64) float sums[fc::kMostVectors * kLanes];
  for (size_t number = begin; number < end; ++number) {
    const uint32_t panel = static_cast<uint32_t>(number);
    const uint32_t vector = layer.first_vector(panel);
    const uint32_t vectors = layer.first_vector(panel + 1) - vector;
    // Words before: those of the panels before.
    size_t words = 0;
    for (uint32_t before = 0; before < panel; ++before) words += fc::groups_of(layer, before);
    kRegistersPanels[vectors - 1](layer, layer.words.data() + words * layer.cols * kLanes, input,
                                  columns, count, sums);
    const size_t first = size_t{vector} * kLanes, left = layer.rows - first;
    const size_t rows = left < size_t{vectors} * kLanes ? left : size_t{vectors} * kLanes;
    finish_rows(layer, first, rows, sums);
    memcpy(output + first, sums, rows * sizeof(float));
  }
}

static void run_registers(const PreparedLayer *prepared, const Team &team, const float *input,
                          size_t n, float *output, void *scratch) {
  const fc::RegistersLayer &layer = *reinterpret_cast<const fc::RegistersLayer *>(prepared);
  uint32_t *columns = reinterpret_cast<uint32_t *>(static_cast<uint8_t *>(scratch) +
                                                   team.rank * fc::list_bytes(layer.cols));
  size_t begin = 0, end = 0;
  team.part(layer.num_panels, 1, &begin, &end);
  for (size_t image = 0; image < n; ++image) {
    const float *from = input + image * layer.cols;
    const size_t count = list_nonzero(from, layer.cols, columns);
    registers_image(layer, begin, end, from, columns, count, output + image * layer.rows);
  }
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
