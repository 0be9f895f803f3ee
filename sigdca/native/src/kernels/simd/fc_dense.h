// Fully connected with every weight: lanes are rows, and the weights stream by.
#pragma once

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

constexpr size_t kDenseCols = 128;  // a panel's block that stays in the first cache

// kWidth vectors of rows, kImages images, columns [0, cols) of a block. The sums of image i are at
// sums + i * panel; `first`: they start at 0.
template <bool kExact, int kWidth, int kImages>
static void dense_tile(const float *weights, const float *input, size_t input_stride, size_t cols,
                       bool first, float *sums, size_t panel) {
  Vec sum[kImages][kWidth];
#pragma GCC unroll 8
  for (int i = 0; i < kImages; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < kWidth; ++v)
      sum[i][v] = first ? zero() : load(sums + i * panel + v * kLanes);
  for (size_t col = 0; col < cols; ++col, weights += kWidth * kLanes) {
    Vec weight[kWidth];
#pragma GCC unroll 8
    for (int v = 0; v < kWidth; ++v) weight[v] = load(weights + v * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kImages; ++i) {
      const Vec x = broadcast(input + i * input_stride + col);
#pragma GCC unroll 8
      for (int v = 0; v < kWidth; ++v) sum[i][v] = muladd<kExact>(sum[i][v], weight[v], x);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kImages; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < kWidth; ++v) store(sums + i * panel + v * kLanes, sum[i][v]);
}

template <bool kExact, int kWidth>
static void dense_panel(const fc::DenseLayer &layer, const float *weights, const float *input,
                        size_t n, float *sums) {
  constexpr int kMany = kRegisters >= 32 ? 6 : 3;
  const size_t cols = layer.cols, panel = layer.panel();
  if (n == 1) return dense_tile<kExact, kWidth, 1>(weights, input, 0, cols, true, sums, panel);
  for (size_t col = 0; col < cols; col += kDenseCols) {
    const size_t some = cols - col < kDenseCols ? cols - col : kDenseCols;
    const float *block = weights + col * kWidth * kLanes, *from = input + col;
    const bool first = col == 0;
    size_t i = 0;
    for (; i + kMany <= n; i += kMany)
      dense_tile<kExact, kWidth, kMany>(block, from + i * cols, cols, some, first,
                                        sums + i * panel, panel);
    for (; i + 2 <= n; i += 2)
      dense_tile<kExact, kWidth, 2>(block, from + i * cols, cols, some, first, sums + i * panel,
                                    panel);
    if (i < n)
      dense_tile<kExact, kWidth, 1>(block, from + i * cols, cols, some, first, sums + i * panel,
                                    panel);
  }
}

template <bool kExact>
static void dense_panels(const fc::DenseLayer &layer, size_t begin, size_t end, const float *input,
                         size_t n, float *output, float *sums) {
  for (size_t number = begin; number < end; ++number) {
    const size_t first = number * layer.panel();
    const float *weights = layer.weights.data() + first * layer.cols;
    const uint32_t width = layer.width(static_cast<uint32_t>(number));
    if (width == 4)
      dense_panel<kExact, 4>(layer, weights, input, n, sums);
    else if (width == 2)
      dense_panel<kExact, 2>(layer, weights, input, n, sums);
    else
      dense_panel<kExact, 1>(layer, weights, input, n, sums);
    const size_t left = layer.rows - first;
    const size_t rows = left < layer.panel() ? left : layer.panel();
    for (size_t image = 0; image < n; ++image) {
      float *to = output + image * layer.rows + first;
      memcpy(to, sums + image * layer.panel(), rows * sizeof(float));
      finish_rows(layer, first, rows, to);
    }
  }
}

static void run_dense(const PreparedLayer *prepared, const Team &team, const float *input,
                      size_t n, float *output, void *scratch) {
  const fc::DenseLayer &layer = *reinterpret_cast<const fc::DenseLayer *>(prepared);
  float *sums = static_cast<float *>(scratch) + size_t{team.rank} * layer.max_batch * layer.panel();
  size_t begin = 0, end = 0;
  team.part(layer.num_panels(), 1, &begin, &end);
  if (layer.exact && kTwoRoundings)
    dense_panels<kTwoRoundings>(layer, begin, end, input, n, output, sums);
  else
    dense_panels<false>(layer, begin, end, input, n, output, sums);
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
