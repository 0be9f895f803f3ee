// Packing and storing by runs of lanes, for vectors without masks. Included by conv_pack.h.
#pragma once

#include "kernels/simd/conv_lanes.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// Copies 1..kLanes values; touches no others.
SIGDCA_INLINE void copy_part(float *to, const float *from, uint32_t count) {
  if (kLanes == 4) {
    if (count >= 2) {
      memcpy(to, from, 8);
      if (count == 2) return;
      if (count == 4) memcpy(to + 2, from + 2, 8);
      if (count == 3) to[2] = from[2];
    } else {
      to[0] = from[0];
    }
  } else {
    store_part(to, load_part(from, count), count);
  }
}

SIGDCA_INLINE void clear_part(float *to, uint32_t count) {
  if (count == 0) return;
  if (kLanes == 4) {
    for (uint32_t i = 0; i < count; ++i) to[i] = 0;
  } else {
    store_part(to, zero(), count);
  }
}

// Stores from registers need masks.
struct DirectStores {};
SIGDCA_INLINE void reset_direct(DirectStores *) {}
SIGDCA_INLINE void add_direct(const OutputPiece &, DirectStores *) {}
template <int kVectors>
SIGDCA_INLINE bool store_direct(const DirectStores &, const Vec *, float *) {
  return false;
}
SIGDCA_INLINE bool store_direct(const DirectStores &, const float *, uint32_t, float *) {
  return false;
}

// Rows of one plane for one run and kx.
struct PlaneCopy {
  const float *from;       // of lane 0 and row 0 in the first channel; may lie outside the image
  float *to;
  uint32_t channels, rows, first_row, last_row;   // rows that lie in the image
  uint32_t lane, lanes, first_lane, last_lane;    // lanes from `lane` on that lie in it
  ptrdiff_t from_channel, from_row;
  size_t to_channel, to_row;
  uint32_t stride;
};

SIGDCA_INLINE void clear_run(const PlaneCopy &copy, float *to) {
  if (copy.lane == 0)
    store(to, zero());
  else
    clear_part(to, copy.lanes);
}

template <class CopyRow>
SIGDCA_INLINE void copy_rows(const PlaneCopy &copy, CopyRow copy_row) {
  for (uint32_t channel = 0; channel < copy.channels; ++channel) {
    float *to = copy.to + channel * copy.to_channel;
    const float *from = copy.from + static_cast<ptrdiff_t>(channel) * copy.from_channel;
    for (uint32_t row = 0; row < copy.first_row; ++row, to += copy.to_row) clear_run(copy, to);
    from += static_cast<ptrdiff_t>(copy.first_row) * copy.from_row;
#pragma GCC unroll 2
    for (uint32_t row = copy.first_row; row < copy.last_row; ++row) {
      copy_row(to, from);
      to += copy.to_row, from += copy.from_row;
    }
    for (uint32_t row = copy.last_row; row < copy.rows; ++row, to += copy.to_row)
      clear_run(copy, to);
  }
}

void copy_plane(const PlaneCopy &copy) {
  const uint32_t first = copy.first_lane, count = copy.last_lane - first;
  if (copy.last_lane <= first) {
    copy_rows(copy, [&](float *to, const float *) { clear_run(copy, to); });
  } else if (copy.stride != 1) {
    copy_rows(copy, [&](float *to, const float *from) {
      clear_run(copy, to);
      for (uint32_t i = first; i < copy.last_lane; ++i) to[i] = from[size_t{i} * copy.stride];
    });
  } else if (count == kLanes) {
    copy_rows(copy, [&](float *to, const float *from) { store(to, load(from)); });
  } else if (count == copy.lanes && copy.lane != 0) {
    copy_rows(copy, [&](float *to, const float *from) { copy_part(to, from, count); });
  } else if (kLanes != 4 && copy.lane == 0 && first == 0) {
    copy_rows(copy, [&](float *to, const float *from) { store(to, load_part(from, count)); });
  } else {
    copy_rows(copy, [&](float *to, const float *from) {
      clear_run(copy, to);
      copy_part(to + first, from + first, count);
    });
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
  for (uint32_t i = 0; i < runs.count; ++i) {
    const LaneRun &run = runs.runs[i];
    copy.lane = run.lane, copy.lanes = run.lanes;
    for (uint32_t kx = 0; kx < block.num_kx; ++kx) {
      const int64_t x = int64_t{run.x} * geometry.stride[1] +
                        int64_t{block.kx + kx} * geometry.dilation[1] - geometry.padding[1];
      clip(x, geometry.stride[1], geometry.in_width, run.lanes, &copy.first_lane, &copy.last_lane);
      for (uint32_t ky = 0; ky < planes; ++ky) {
        const int64_t y = int64_t{run.y} * geometry.stride[0] +
                          int64_t{block.ky + ky} * geometry.dilation[0] - geometry.padding[0];
        copy.rows = plan.plane_rows(block.num_ky, ky);
        clip(y, geometry.stride[0], geometry.in_height, copy.rows, &copy.first_row, &copy.last_row);
        copy.from = image + block.channel * plane + y * geometry.in_width + x;
        copy.to = panel + (size_t{kx} * column + plan.row_of(block.num_ky, ky)) * copy.to_row +
                  run.strip * kLanes + run.lane;
        copy_plane(copy);
      }
    }
  }
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
