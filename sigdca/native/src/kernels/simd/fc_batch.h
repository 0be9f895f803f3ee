// Fully connected, lanes are images: inputs are transposed, so that a weight is one number for all.
#pragma once

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

typedef float Four __attribute__((vector_size(16)));

#ifdef __clang__
#define SIGDCA_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else  // GCC knows that from version 12 on
typedef int FourPlaces __attribute__((vector_size(16)));
#define SIGDCA_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, FourPlaces{__VA_ARGS__})
#endif

// Turns 4 rows of 4 values (`from_stride` apart) into 4 columns.
SIGDCA_INLINE void transpose_4(const float *from, size_t from_stride, float *to,
                               size_t to_stride) {
  Four a, b, c, d;
  memcpy(&a, from, sizeof(a));
  memcpy(&b, from + from_stride, sizeof(b));
  memcpy(&c, from + 2 * from_stride, sizeof(c));
  memcpy(&d, from + 3 * from_stride, sizeof(d));
  const Four ab_low = SIGDCA_SHUFFLE(a, b, 0, 4, 1, 5);
  const Four ab_high = SIGDCA_SHUFFLE(a, b, 2, 6, 3, 7);
  const Four cd_low = SIGDCA_SHUFFLE(c, d, 0, 4, 1, 5);
  const Four cd_high = SIGDCA_SHUFFLE(c, d, 2, 6, 3, 7);
  a = SIGDCA_SHUFFLE(ab_low, cd_low, 0, 1, 4, 5);
  b = SIGDCA_SHUFFLE(ab_low, cd_low, 2, 3, 6, 7);
  c = SIGDCA_SHUFFLE(ab_high, cd_high, 0, 1, 4, 5);
  d = SIGDCA_SHUFFLE(ab_high, cd_high, 2, 3, 6, 7);
  memcpy(to, &a, sizeof(a));
  memcpy(to + to_stride, &b, sizeof(b));
  memcpy(to + 2 * to_stride, &c, sizeof(c));
  memcpy(to + 3 * to_stride, &d, sizeof(d));
}
#undef SIGDCA_SHUFFLE

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
struct Coded {
  const uint8_t *codes;
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

// Adds a block to the sums of the rows from `row` on.
template <bool kExact, int kVectors, int kRows, class Source>
SIGDCA_INLINE void batch_tile(const BatchWork &work, uint32_t block, size_t row,
                              const Source &source, float *sums) {
  const fc::BatchLayer &layer = work.layer;
  constexpr size_t kWidth = size_t{kVectors} * kLanes;
  Vec sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = block == 0 ? zero() : load(sums + r * kWidth + v * kLanes);
  batch_rows<kExact, kVectors, kRows>(
      layer.start.data() + block * (size_t{layer.rows} + 1) + row, layer.column.data(), source,
      work.transposed + size_t{block} * layer.block_cols * kWidth, sum);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(sums + r * kWidth + v * kLanes, sum[r][v]);
}

// Rows [row, end).
template <bool kExact, int kVectors, class Source>
static void batch_block(const BatchWork &work, uint32_t block, size_t row, size_t end, float *sums,
                        const Source &source) {
  constexpr int kRows = kVectors == 1 ? 4 : kVectors == 2 ? 2 : 1;
  constexpr size_t kWidth = size_t{kVectors} * kLanes;
  for (; row + kRows <= end; row += kRows, sums += kRows * kWidth)
    batch_tile<kExact, kVectors, kRows>(work, block, row, source, sums);
  if (kRows == 1) return;
  for (; row < end; ++row, sums += kWidth)
    batch_tile<kExact, kVectors, 1>(work, block, row, source, sums);
}

// The outputs of rows [row, end) from their sums, whose rows have `width` images.
static void finish_batch(const BatchWork &work, size_t row, size_t end, size_t width) {
  const fc::BatchLayer &layer = work.layer;
  const float *scales = layer.epilogue.scale, *shifts = layer.epilogue.shift;
  for (size_t r = row; r < end; ++r) {
    const Vec scale = set1(scales == nullptr ? 1 : scales[r]);
    const Vec shift = set1(shifts == nullptr ? 0 : shifts[r]);
    float *values = work.tile + (r - row) * width;
    for (size_t i = 0; i < width; i += kLanes)
      store(values + i, finish(layer, load(values + i), scale, shift));
  }
  transpose(work.tile, width, end - row, work.images, work.output + row, layer.rows);
}

template <bool kExact, class Source>
static void batch_blocks(const BatchWork &work, size_t width, const Source &source) {
  constexpr decltype(&batch_block<kExact, 1, Source>) kBlocks[] = {
      batch_block<kExact, 1, Source>, batch_block<kExact, 2, Source>,
      batch_block<kExact, 4, Source>, batch_block<kExact, 8, Source>};
  const auto add = kBlocks[__builtin_ctzll(width / kLanes)];
  const uint32_t last = work.layer.num_blocks - 1;
  for (uint32_t block = 0; block < last; ++block)
    add(work, block, work.row_begin, work.row_end, work.sums + work.row_begin * width, source);
  for (size_t row = work.row_begin; row < work.row_end; row += kTileRows) {
    const size_t end = row + kTileRows < work.row_end ? row + kTileRows : work.row_end;
    if (last != 0)
      memcpy(work.tile, work.sums + row * width, (end - row) * width * sizeof(float));
    add(work, last, row, end, work.tile, source);
    finish_batch(work, row, end, width);
  }
}

// width: images that are computed.
template <bool kExact>
static void batch_pass(const BatchWork &work, size_t width) {
  const fc::Values &values = work.layer.values;
  if (values.coding == fc::Coding::kCode8)
    batch_blocks<kExact>(work, width, Coded{values.code8.data(), values.codebook.data()});
  else
    batch_blocks<kExact>(work, width, Plain{values.raw.data()});
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
    if (layer.exact && kTwoRoundings)
      batch_pass<kTwoRoundings>(work, width);
    else
      batch_pass<false>(work, width);
    if (image + layer.pass < n) team.barrier();
  }
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
