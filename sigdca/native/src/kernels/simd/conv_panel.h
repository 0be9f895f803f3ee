// What sparse and dense convolution have in common: the way through panels, blocks and chunks of
// output channels, and the end of a sum. Include a vec_<isa>.h before.
#pragma once

#include "kernels/simd/conv_layer.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// How many vectors a panel may have, as ConvTuning::sizes: sparse with codes, sparse without, dense.
constexpr uint32_t kCodedSizes = 0b111'0101'1101'0110;  // 1 2 4 6 7 8 10 12 13 14
constexpr uint32_t kRawSizes = 0b100'0000'1001'0010;    // 1 4 7 14
constexpr uint32_t kDenseSizes = 0b001'1111'1111'1110;  // 1 to 12
constexpr int kMaxVectors = 14;

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE

#include "kernels/simd/conv_pack.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

#if defined(__SSE4_2__) && !defined(__AVX__)
constexpr uint32_t kCodeFloats = 2;  // conv_sparse.h's weight_at says why
#else
constexpr uint32_t kCodeFloats = 1;
#endif

// What is done to the sums of a row; scale and shift may be null.
struct RowEnd {
  const float *scale, *shift;
  float low, high;
};

// Of one row, in registers.
struct RowFinish {
  bool scaled, shifted;
  Vec scale, shift, low, high;

  __attribute__((always_inline)) RowFinish(const RowEnd &end, size_t row)
      : scaled(end.scale != nullptr), shifted(end.shift != nullptr),
        scale(set1(scaled ? end.scale[row] : 1)), shift(set1(shifted ? end.shift[row] : 0)),
        low(set1(end.low)), high(set1(end.high)) {}
  __attribute__((always_inline)) Vec operator()(Vec sum) const {
    if (scaled) sum = mul(sum, scale);
    if (shifted) sum = add(sum, shift);
    return min(high, max(low, sum));  // a NaN stays one
  }
};

// One block of one panel for some output channels of a group.
struct BlockPlace {
  const float *panel;
  float *sums;        // of the first row
  uint32_t group, block;
  uint32_t row, rows;  // in the group
  const RowEnd *end;  // in the last block
  const PanelRuns *runs;
  const DirectStores *direct;
  float *output;      // of the first row
  size_t plane;       // from one row's output to the next

  // In the last block: from the sums of rows `first` and behind it, counted from `row`, to outputs.
  __attribute__((noinline)) void finish(size_t layer_row, uint32_t first, uint32_t count,
                                        uint32_t vectors) const {
    for (uint32_t i = first; i < first + count && i < rows; ++i) {
      float *values = sums + size_t{i} * vectors * kLanes;
      const RowFinish finish(*end, layer_row + i);
      for (uint32_t v = 0; v < vectors; ++v)
        store(values + v * kLanes, finish(load(values + v * kLanes)));
      store_row(*runs, *direct, values, vectors, output + i * plane);
    }
  }

  // Of one row, done already.
  __attribute__((noinline)) void write(uint32_t row_of_place, uint32_t vectors) const {
    store_row(*runs, *direct, sums + size_t{row_of_place} * vectors * kLanes, vectors,
              output + row_of_place * plane);
  }
};

// Computes rows [begin, end) of a group for one panel.
template <class Compute>
SIGDCA_INLINE void run_panel(const ConvLayer &layer, uint32_t group, uint32_t panel,
                             uint32_t begin, uint32_t end, const float *input, float *output,
                             float *memory, const Compute &compute) {
  const ConvPlan &plan = layer.plan;
  const ConvGeometry &geometry = plan.geometry;
  const size_t in_plane = size_t{geometry.in_height} * geometry.in_width;
  const size_t out_plane = size_t{geometry.out_height} * geometry.out_width;
  const float *image = input + size_t{group} * geometry.channels * in_plane;
  float *sums = memory + plan.max_block_bytes() / sizeof(float);
  const Epilogue &epilogue = layer.epilogue;
  const RowEnd row_end{epilogue.scale, epilogue.shift, epilogue.low, epilogue.high};
  PanelRuns runs;
  DirectStores direct;
  find_runs(plan, panel, &runs, &direct);
  for (uint32_t row = begin; row < end; row += plan.chunk_rows) {
    const uint32_t rows = end - row < plan.chunk_rows ? end - row : plan.chunk_rows;
    for (uint32_t index = 0; index < plan.num_blocks; ++index) {
      const bool last = index + 1 == plan.num_blocks;
      pack_block(plan, runs, plan.block(index), image, memory);
      if (!last) prefetch_block(plan, runs, plan.block(index + 1), image);
      compute(BlockPlace{memory, sums, group, index, row, rows, last ? &row_end : nullptr, &runs, &direct,
                         output + (size_t{group} * geometry.rows + row) * out_plane, out_plane});
    }
  }
}

// Runs a layer: each thread takes whole panels; those that are left over, fewer than there are
// threads, are cut by output channels. Every thread packs for itself.
template <class Compute>
SIGDCA_INLINE void run_panels(const ConvLayer &layer, const Team &team, const float *input,
                              float *output, void *scratch, const Compute &compute) {
  const ConvPlan &plan = layer.plan;
  float *memory = static_cast<float *>(scratch) + layer.thread_floats() * team.rank;
  const size_t items = size_t{plan.geometry.groups} * plan.panels;
  const size_t whole = team.size == 1 ? items : items / team.size * team.size;
  size_t begin = 0, end = 0;
  team.part(whole, 1, &begin, &end);
  for (size_t item = begin; item < end; ++item)
    run_panel(layer, static_cast<uint32_t>(item / plan.panels),
              static_cast<uint32_t>(item % plan.panels), 0, plan.geometry.rows, input, output,
              memory, compute);
  team.part(plan.geometry.rows, layer.tile_rows, &begin, &end);
  if (begin == end) return;
  for (size_t item = whole; item < items; ++item)
    run_panel(layer, static_cast<uint32_t>(item / plan.panels),
              static_cast<uint32_t>(item % plan.panels), static_cast<uint32_t>(begin),
              static_cast<uint32_t>(end), input, output, memory, compute);
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
