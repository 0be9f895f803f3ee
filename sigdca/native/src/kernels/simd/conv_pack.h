// Between images and panels (conv_plan.h): where lanes lie, packing inputs, storing results.
// Include a vec_<isa>.h before.
#pragma once

#include "kernels/simd/conv_lanes.h"

#if defined(__AVX512F__)
#include "kernels/simd/conv_pack_avx512.h"
#else
#include "kernels/simd/conv_pack_plain.h"
#endif

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

void add_pieces(const ConvPlan &plan, const LaneRun &run, PanelRuns *runs, DirectStores *direct) {
  const ConvGeometry &geometry = plan.geometry;
  for (uint32_t row = 0; row < plan.rows && run.y + row < geometry.out_height; ++row) {
    if (run.lanes == 0) return;
    OutputPiece &piece = runs->pieces[runs->num_pieces++];
    piece.from = (row * plan.panel_strips + run.strip) * kLanes + run.lane;
    piece.lanes = run.lanes;
    piece.to = size_t{run.y + row} * geometry.out_width + run.x;
    add_direct(piece, direct);
  }
}

// direct: empty for instruction sets that do not store from registers.
void find_runs(const ConvPlan &plan, uint32_t panel, PanelRuns *runs, DirectStores *direct) {
  const ConvGeometry &geometry = plan.geometry;
  const size_t columns = size_t{geometry.out_width} * plan.segments;
  runs->count = runs->num_pieces = 0;
  reset_direct(direct);
  for (uint32_t strip = 0; strip < plan.panel_strips; ++strip) {
    const size_t first = (size_t{panel} * plan.panel_strips + strip) * kLanes;
    uint32_t lane = 0;
    do {
      const size_t column = first + lane;
      LaneRun run{strip, lane, 0, 0, 0};
      if (column < columns) {
        run.y = static_cast<uint32_t>(column / geometry.out_width) * plan.rows;
        run.x = static_cast<uint32_t>(column % geometry.out_width);
        const uint32_t left = kLanes - lane, width = geometry.out_width - run.x;
        run.lanes = width < left ? width : left;
      } else if (lane > 0) {
        break;
      }
      runs->runs[runs->count++] = run;
      add_pieces(plan, run, runs, direct);
      lane = run.lanes == 0 ? kLanes : lane + run.lanes;
    } while (lane < kLanes);
  }
}

// Stores a row's results: `sums` has all vectors of the panel, `output` is the row's image.
SIGDCA_INLINE void store_row(const PanelRuns &runs, const DirectStores &direct, const float *sums,
                             uint32_t vectors, float *output) {
  if (store_direct(direct, sums, vectors, output)) return;
  for (uint32_t i = 0; i < runs.num_pieces; ++i) {
    const OutputPiece &piece = runs.pieces[i];
    if (piece.lanes == kLanes)
      store(output + piece.to, load(sums + piece.from));
    else
      copy_part(output + piece.to, sums + piece.from, piece.lanes);
  }
}

// Asks for what pack_block will read of a block.
void prefetch_block(const ConvPlan &plan, const PanelRuns &runs, const ConvBlock &block,
                    const float *image) {
  const ConvGeometry &geometry = plan.geometry;
  const int64_t plane = int64_t{geometry.in_height} * geometry.in_width;
  const uint32_t height = (plan.rows - 1) * geometry.stride[0] +
                          (block.num_ky - 1) * geometry.dilation[0] + 1;
  for (uint32_t i = 0; i < runs.count; ++i) {
    const LaneRun &run = runs.runs[i];
    if (run.lanes == 0) continue;
    const int64_t first = int64_t{run.y} * geometry.stride[0] - geometry.padding[0] +
                          int64_t{block.ky} * geometry.dilation[0];
    const int64_t x = int64_t{run.x + run.lanes - 1} * geometry.stride[1];
    const int64_t begin = first < 0 ? 0 : first;
    const int64_t end = first + height < geometry.in_height ? first + height : geometry.in_height;
    for (uint32_t channel = 0; channel < block.channels; ++channel) {
      const float *from = image + (block.channel + channel) * plane + (x < geometry.in_width ? x : 0);
      for (int64_t y = begin; y < end; ++y)
        __builtin_prefetch(from + y * geometry.in_width, 0, 2);
    }
  }
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
