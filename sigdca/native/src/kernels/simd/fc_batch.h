// Fully connected, lanes are images: inputs are transposed, so that a weight is one number for all.
#pragma once

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

typedef float Four __attribute__((vector_size(16)));

// Turns 4 rows of 4 values (`from_stride` apart) into 4 columns.
SIGDCA_INLINE void transpose_4(const float *from, size_t from_stride, float *to,
                               size_t to_stride) {
  Four a, b, c, d;
  memcpy(&a, from, sizeof(a));
  memcpy(&b, from + from_stride, sizeof(b));
  memcpy(&c, from + 2 * from_stride, sizeof(c));
  memcpy(&d, from + 3 * from_stride, sizeof(d));
  const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
  memcpy(to, &a, sizeof(a));
  memcpy(to + to_stride, &b, sizeof(b));
  memcpy(to + 2 * to_stride, &c, sizeof(c));
  memcpy(to + 3 * to_stride, &d, sizeof(d));
}

// to[col][row] = from[row][col], 16 columns at a time: what is read and written stays near by.
static void transpose(const float *from, size_t from_stride, size_t rows, size_t cols, float *to,
                      size_t to_stride) {
  constexpr size_t kSome = 16;
  for (size_t first = 0; first < cols; first += kSome) {
    const size_t end = first + kSome < cols ? first + kSome : cols;
    size_t row = 0;
    if (kTransposes16 && end == first + kSome)
      for (; row + kSome <= rows; row += kSome)
        transpose_16(from + row * from_stride + first, from_stride, to + first * to_stride + row,
                     to_stride);
    for (; row < rows; row += 4) {
      const size_t last = row + 4 < rows ? row + 4 : rows;
      size_t col = first;
      if (last == row + 4)
        for (; col + 4 <= end; col += 4)
          transpose_4(from + row * from_stride + col, from_stride, to + col * to_stride + row,
                      to_stride);
      for (; col < end; ++col)
        for (size_t r = row; r < last; ++r) to[col * to_stride + r] = from[r * from_stride + col];
    }
  }
}

// Where a listed weight's value lies.
template <class Code>
struct Coded {
  const Code *codes;
  const float *codebook;
  __attribute__((always_inline)) const float *at(size_t i) const { return codebook + codes[i]; }
};
struct Plain {
  const float *values;
  __attribute__((always_inline)) const float *at(size_t i) const { return values + i; }
};

// What one thread does in one pass.
struct BatchWork {
  const fc::BatchLayer &layer;
  const float *transposed;
  float *sums, *tile, *output;
  size_t images, row_begin, row_end;
};

constexpr uint32_t kTileRows = 16;

// The sums of kRows rows: as many weights of each as the shortest has go side by side, as a sum
// waits for itself.
template <bool kExact, int kVectors, int kRows, class Source>
SIGDCA_INLINE void batch_rows(const uint32_t *start, const uint16_t *columns, const Source &source,
                              const float *from, Vec sum[kRows][kVectors]) {
  constexpr size_t kWidth = size_t{kVectors} * kLanes;
  const auto step = [&](int row, uint32_t i) __attribute__((always_inline)) {
    const Vec weight = broadcast(source.at(i));
    const float *x = from + columns[i] * kWidth;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      sum[row][v] = muladd<kExact>(sum[row][v], weight, load(x + v * kLanes));
  };
  uint32_t common = kRows == 1 ? 0 : UINT32_MAX;
#pragma GCC unroll 8
  for (int row = 0; row < kRows && kRows > 1; ++row)
    if (start[row + 1] - start[row] < common) common = start[row + 1] - start[row];
  for (uint32_t i = 0; i < common; ++i)
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) step(row, start[row] + i);
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row)
    for (uint32_t i = start[row] + common; i < start[row + 1]; ++i) step(row, i);
}

// The rows from `row` on.
template <bool kExact, int kVectors, int kRows, class Source>
SIGDCA_INLINE void batch_tile(const BatchWork &work, uint32_t block, size_t row,
                              const Source &source) {
  const fc::BatchLayer &layer = work.layer;
  constexpr size_t kWidth = size_t{kVectors} * kLanes;
  Vec sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = block == 0 ? zero() : load(work.sums + (row + r) * kWidth + v * kLanes);
  batch_rows<kExact, kVectors, kRows>(
      layer.start.data() + block * (size_t{layer.rows} + 1) + row, layer.column.data(), source,
      work.transposed + size_t{block} * layer.block_cols * kWidth, sum);
  const bool is_last = block + 1 == layer.num_blocks;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const size_t number = row + r, in_tile = (number - work.row_begin) % kTileRows;
    float *to = is_last ? work.tile + in_tile * kWidth : work.sums + number * kWidth;
    const bool scaled = is_last && layer.epilogue.scale != nullptr;
    const bool shifted = is_last && layer.epilogue.shift != nullptr;
    const Vec scale = set1(scaled ? layer.epilogue.scale[number] : 1);
    const Vec shift = set1(shifted ? layer.epilogue.shift[number] : 0);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      store(to + v * kLanes, is_last ? finish(layer, sum[r][v], scale, shift) : sum[r][v]);
    if (is_last && (in_tile + 1 == kTileRows || number + 1 == work.row_end))
      transpose(work.tile, kWidth, in_tile + 1, work.images, work.output + (number - in_tile),
                layer.rows);
  }
}

template <bool kExact, int kVectors, class Source>
static void batch_block(const BatchWork &work, uint32_t block, const Source &source) {
  constexpr int kRows = kVectors == 1 ? 4 : kVectors == 2 ? 2 : 1;
  size_t row = work.row_begin;
  for (; row + kRows <= work.row_end; row += kRows)
    batch_tile<kExact, kVectors, kRows>(work, block, row, source);
  for (; row < work.row_end; ++row) batch_tile<kExact, kVectors, 1>(work, block, row, source);
}

template <bool kExact, class Source>
static void batch_blocks(const BatchWork &work, const Source &source) {
  const size_t vectors = (work.images + kLanes - 1) / kLanes;  // 3 are made 4, and so on
  for (uint32_t block = 0; block < work.layer.num_blocks; ++block) {
    if (vectors == 1)
      batch_block<kExact, 1>(work, block, source);
    else if (vectors == 2)
      batch_block<kExact, 2>(work, block, source);
    else if (vectors <= 4)
      batch_block<kExact, 4>(work, block, source);
    else
      batch_block<kExact, 8>(work, block, source);
  }
}

template <bool kExact>
static void batch_pass(const BatchWork &work) {
  const fc::Values &values = work.layer.values;
  if (values.coding == fc::Coding::kCode8)
    batch_blocks<kExact>(work, Coded<uint8_t>{values.code8.data(), values.codebook.data()});
  else if (values.coding == fc::Coding::kCode16)
    batch_blocks<kExact>(work, Coded<uint16_t>{values.code16.data(), values.codebook.data()});
  else
    batch_blocks<kExact>(work, Plain{values.raw.data()});
}

static void run_batch(const PreparedLayer *prepared, const Team &team, const float *input,
                      size_t n, float *output, void *scratch) {
  const fc::BatchLayer &layer = *reinterpret_cast<const fc::BatchLayer *>(prepared);
  float *const transposed = static_cast<float *>(scratch);
  float *const sums = transposed + layer.transposed_floats();
  float *const tile = sums + layer.sum_floats() + size_t{team.rank} * kTileRows * layer.pass;
  size_t first_col = 0, end_col = 0, row_begin = 0, row_end = 0;
  team.part(layer.cols, 16, &first_col, &end_col);
  team.part(layer.rows, 1, &row_begin, &row_end);
  for (size_t image = 0; image < n; image += layer.pass) {
    const size_t images = n - image < layer.pass ? n - image : layer.pass;
    size_t width = kLanes;  // what is computed: 1, 2, 4 or 8 vectors
    while (width < images) width *= 2;
    if (images < width)
      for (size_t col = first_col; col < end_col; ++col)
        memset(transposed + col * width + images, 0, (width - images) * sizeof(float));
    transpose(input + image * layer.cols + first_col, layer.cols, images, end_col - first_col,
              transposed + first_col * width, width);
    team.barrier();
    const BatchWork work{layer,  transposed, sums,   tile, output + image * layer.rows,
                         images, row_begin,  row_end};
    if (layer.exact)
      batch_pass<true>(work);
    else
      batch_pass<false>(work);
    if (image + layer.pass < n) team.barrier();
  }
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
