// Packing and storing with masks. Included by conv_pack.h.
#pragma once

#include "kernels/simd/conv_lanes.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// Where each vector's lanes go in the output, for stores from registers.
struct DirectStores {
  bool possible;  // no vector has more than two pieces
  ptrdiff_t to[2][kMaxVectors];  // of lane 0
  __mmask16 lanes[2][kMaxVectors];
};

SIGDCA_INLINE void reset_direct(DirectStores *direct) {
  direct->possible = true;
  for (int side = 0; side < 2; ++side)
    for (int i = 0; i < kMaxVectors; ++i) direct->lanes[side][i] = 0, direct->to[side][i] = 0;
}
SIGDCA_INLINE void add_direct(const OutputPiece &piece, DirectStores *direct) {
  const uint32_t vector = piece.from / kLanes, lane = piece.from % kLanes;
  const int side = direct->lanes[0][vector] != 0;
  if (direct->lanes[side][vector] != 0) direct->possible = false;
  direct->to[side][vector] = static_cast<ptrdiff_t>(piece.to) - lane;
  direct->lanes[side][vector] = static_cast<__mmask16>(((1u << piece.lanes) - 1) << lane);
}
// Whether it could store the panel's results `sums`; `output` is the row's image.
template <int kVectors>
SIGDCA_INLINE bool store_direct(const DirectStores &direct, const Vec *sums, float *output) {
  // Each size takes space in the library; these are those of panels that often have short sums.
  if ((kVectors != 12 && kVectors != 14) || !direct.possible) return false;
#pragma GCC unroll 32
  for (int i = 0; i < kVectors; ++i) {
    _mm512_mask_storeu_ps(output + direct.to[0][i], direct.lanes[0][i], sums[i]);
    if (direct.lanes[1][i] != 0)
      _mm512_mask_storeu_ps(output + direct.to[1][i], direct.lanes[1][i], sums[i]);
  }
  return true;
}
SIGDCA_INLINE bool store_direct(const DirectStores &direct, const float *sums, uint32_t vectors,
                                float *output) {
  if (!direct.possible) return false;
  for (uint32_t i = 0; i < vectors; ++i) {
    const Vec values = load(sums + i * kLanes);
    _mm512_mask_storeu_ps(output + direct.to[0][i], direct.lanes[0][i], values);
    if (direct.lanes[1][i] != 0)
      _mm512_mask_storeu_ps(output + direct.to[1][i], direct.lanes[1][i], values);
  }
  return true;
}

SIGDCA_INLINE void copy_part(float *to, const float *from, uint32_t count) {
  store_part(to, load_part(from, count), count);
}

SIGDCA_INLINE __mmask16 lane_mask(uint32_t first, uint32_t last) {
  return static_cast<__mmask16>((1u << last) - (1u << first));
}

// What one run gives to the vectors of one plane and kx.
struct RunCopy {
  const float *from;             // of lane 0 and the plane's row 0; may lie outside the image
  uint32_t first_row, last_row;  // rows that lie in the image
  __mmask16 lanes, there;        // its lanes, and those that lie in the image
};

// The vectors of one plane and kx, put together from two runs.
struct PlaneCopy {
  RunCopy runs[2];  // the second may have no lanes
  float *to;
  bool whole;       // lanes of neither run become 0; else they stay as they are
  uint32_t channels, rows;
  ptrdiff_t from_channel, from_row;
  size_t to_channel, to_row;
  uint32_t stride;
};

template <bool kStrided>
SIGDCA_INLINE void copy_rows(const PlaneCopy &copy, uint32_t begin, uint32_t end) {
  __mmask16 there[2];
  for (int i = 0; i < 2; ++i) {
    const RunCopy &run = copy.runs[i];
    there[i] = begin >= run.first_row && begin < run.last_row ? run.there : 0;
  }
  const __mmask16 lanes =
      copy.whole ? 0xffff : static_cast<__mmask16>(copy.runs[0].lanes | copy.runs[1].lanes);
  const __m512i place =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_epi32(static_cast<int>(copy.stride)));
  for (uint32_t channel = 0; channel < copy.channels; ++channel) {
    const ptrdiff_t skip = static_cast<ptrdiff_t>(channel) * copy.from_channel + begin * copy.from_row;
    const float *from0 = copy.runs[0].from + skip, *from1 = copy.runs[1].from + skip;
    float *to = copy.to + channel * copy.to_channel + begin * copy.to_row;
    for (uint32_t row = begin; row < end; ++row) {
      Vec values;
      if (kStrided) {
        values = _mm512_mask_i32gather_ps(zero(), there[0], place, from0, 4);
        if (there[1] != 0) values = _mm512_mask_i32gather_ps(values, there[1], place, from1, 4);
      } else {
        values = _mm512_maskz_loadu_ps(there[0], from0);
        if (there[1] != 0) values = _mm512_mask_loadu_ps(values, there[1], from1);
      }
      if (copy.whole)
        store(to, values);
      else
        _mm512_mask_storeu_ps(to, lanes, values);
      from0 += copy.from_row, from1 += copy.from_row, to += copy.to_row;
    }
  }
}

void copy_plane(const PlaneCopy &copy) {
  for (uint32_t row = 0; row < copy.rows;) {
    uint32_t end = copy.rows;  // up to where a run enters or leaves the image
    for (const RunCopy &run : copy.runs) {
      if (run.first_row > row && run.first_row < end) end = run.first_row;
      if (run.last_row > row && run.last_row < end) end = run.last_row;
    }
    if (copy.stride == 1)
      copy_rows<false>(copy, row, end);
    else
      copy_rows<true>(copy, row, end);
    row = end;
  }
}

// Packs a block of a group's image for a panel.
void pack_block(const ConvPlan &plan, const PanelRuns &runs, const ConvBlock &block,
                const float *image, float *panel) {
  const ConvGeometry &geometry = plan.geometry;
  const int64_t plane = int64_t{geometry.in_height} * geometry.in_width;
  const uint32_t column = plan.column_rows(block.num_ky);
  const uint32_t planes = plan.period < block.num_ky ? plan.period : block.num_ky;
  PlaneCopy copy{};
  copy.channels = block.channels;
  copy.from_channel = static_cast<ptrdiff_t>(plane);
  copy.from_row = static_cast<ptrdiff_t>(geometry.in_width) * geometry.stride[0];
  copy.to_row = size_t{plan.panel_strips} * kLanes;
  copy.to_channel = copy.to_row * column * block.num_kx;
  copy.stride = geometry.stride[1];
  uint32_t count = 0;
  for (uint32_t i = 0; i < runs.count; i += count) {
    const LaneRun *pair = runs.runs + i;
    count = i + 1 < runs.count && pair[1].strip == pair[0].strip ? 2 : 1;
    copy.whole = pair[0].lane == 0;
    for (uint32_t kx = 0; kx < block.num_kx; ++kx)
      for (uint32_t ky = 0; ky < planes; ++ky) {
        copy.rows = plan.plane_rows(block.num_ky, ky);
        copy.runs[1] = RunCopy{image, 0, 0, 0, 0};
        for (uint32_t r = 0; r < count; ++r) {
          const LaneRun &run = pair[r];
          RunCopy &to = copy.runs[r];
          const int64_t x = int64_t{run.x} * geometry.stride[1] +
                            int64_t{block.kx + kx} * geometry.dilation[1] - geometry.padding[1];
          const int64_t y = int64_t{run.y} * geometry.stride[0] +
                            int64_t{block.ky + ky} * geometry.dilation[0] - geometry.padding[0];
          uint32_t first = 0, last = 0;
          clip(x, geometry.stride[1], geometry.in_width, run.lanes, &first, &last);
          clip(y, geometry.stride[0], geometry.in_height, copy.rows, &to.first_row, &to.last_row);
          to.lanes = lane_mask(run.lane, run.lane + run.lanes);
          to.there = lane_mask(run.lane + first, run.lane + last);
          to.from = image + block.channel * plane + y * geometry.in_width + x -
                    int64_t{run.lane} * geometry.stride[1];
        }
        copy.to = panel + (size_t{kx} * column + plan.row_of(block.num_ky, ky)) * copy.to_row +
                  pair[0].strip * kLanes;
        copy_plane(copy);
      }
  }
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
