// Fully connected, column by column: the columns of zero inputs are skipped.
#pragma once

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// Values by number: each product is made once where a column has more weights than there are
// centroids.
template <class Code>
static void columns_coded(const fc::ColumnsLayer &layer, const Code *codes, const uint32_t *start,
                          const float *input, float *sums, uint32_t *columns) {
  const float *const codebook = layer.values.codebook.data();
  const uint32_t num_centroids = layer.values.num_centroids;
  alignas(64) float products[256];
  const size_t count = list_nonzero(input, layer.cols, columns);
  for (size_t k = 0; k < count; ++k) {
    const uint32_t col = columns[k], end = start[col + 1];
    const float x = input[col];
    uint32_t i = start[col];
    const uint16_t *const rows = layer.row.data();
    if (num_centroids <= 256 && num_centroids <= end - i) {
      for (uint32_t c = 0; c < num_centroids; c += kLanes)
        store(products + c, mul(load(codebook + c), set1(x)));
      for (; i + 4 <= end; i += 4) {
        sums[rows[i]] = sums[rows[i]] + products[codes[i]];
        sums[rows[i + 1]] = sums[rows[i + 1]] + products[codes[i + 1]];
        sums[rows[i + 2]] = sums[rows[i + 2]] + products[codes[i + 2]];
        sums[rows[i + 3]] = sums[rows[i + 3]] + products[codes[i + 3]];
      }
      for (; i < end; ++i) sums[rows[i]] = sums[rows[i]] + products[codes[i]];
    } else {
      for (; i < end; ++i) sums[rows[i]] = sums[rows[i]] + codebook[codes[i]] * x;
    }
  }
}

static void columns_raw(const fc::ColumnsLayer &layer, const uint32_t *start, const float *input,
                        float *sums, uint32_t *columns) {
  const float *const values = layer.values.raw.data();
  const uint16_t *const rows = layer.row.data();
  const size_t count = list_nonzero(input, layer.cols, columns);
  for (size_t k = 0; k < count; ++k) {
    const uint32_t col = columns[k], end = start[col + 1];
    const float x = input[col];
    uint32_t i = start[col];
    for (; i + 4 <= end; i += 4) {
      sums[rows[i]] = sums[rows[i]] + values[i] * x;
      sums[rows[i + 1]] = sums[rows[i + 1]] + values[i + 1] * x;
      sums[rows[i + 2]] = sums[rows[i + 2]] + values[i + 2] * x;
      sums[rows[i + 3]] = sums[rows[i + 3]] + values[i + 3] * x;
    }
    for (; i < end; ++i) sums[rows[i]] = sums[rows[i]] + values[i] * x;
  }
}

static void run_columns(const PreparedLayer *prepared, const Team &team, const float *input,
                        size_t n, float *output, void *scratch) {
  const fc::ColumnsLayer &layer = *reinterpret_cast<const fc::ColumnsLayer *>(prepared);
  const size_t own = fc::columns_scratch(prepared, 1);
  uint32_t *list = reinterpret_cast<uint32_t *>(static_cast<uint8_t *>(scratch) + team.rank * own);
  size_t begin = 0, end = 0;
  team.part(layer.num_parts, 1, &begin, &end);
  for (size_t image = 0; image < n; ++image)
    for (size_t part = begin; part < end; ++part) {
      const float *from = input + image * layer.cols;
      const uint32_t *start = layer.start.data() + part * (size_t{layer.cols} + 1);
      const uint32_t first = layer.first_row(static_cast<uint32_t>(part));
      const uint32_t rows = layer.first_row(static_cast<uint32_t>(part) + 1) - first;
      float *sums = output + image * layer.rows + first;
      memset(sums, 0, rows * sizeof(float));
      if (layer.values.coding == fc::Coding::kCode8)
        columns_coded(layer, layer.values.code8.data(), start, from, sums, list);
      else if (layer.values.coding == fc::Coding::kCode16)
        columns_coded(layer, layer.values.code16.data(), start, from, sums, list);
      else
        columns_raw(layer, start, from, sums, list);
      finish_rows(layer, first, rows, sums);
    }
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
