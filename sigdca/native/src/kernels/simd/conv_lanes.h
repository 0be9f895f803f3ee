// Which outputs the lanes of a panel are. Include a vec_<isa>.h before.
#pragma once

#include "kernels/simd/conv_plan.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// Neighbours in a row of the output that are neighbours in a vector.
struct LaneRun {
  uint32_t strip;        // of the panel
  uint32_t lane, lanes;  // 0 lanes: the strip does not exist
  uint32_t y, x;         // of the first output
};

// Neighbours in one vector of results that are neighbours in the output.
struct OutputPiece {
  uint32_t from, lanes;  // in the panel's floats
  size_t to;             // in a channel of the output
};

struct PanelRuns {
  LaneRun runs[kMaxVectors * kLanes];
  OutputPiece pieces[kMaxVectors * kLanes];
  uint32_t count, num_pieces;
};

// Of `count` places start, start + stride, ...: those in [0, size) are [*first, *last).
SIGDCA_INLINE void clip(int64_t start, int64_t stride, int64_t size, int64_t count,
                        uint32_t *first, uint32_t *last) {
  int64_t low = start < 0 ? (stride == 1 ? -start : (-start + stride - 1) / stride) : 0;
  int64_t high = start < size ? (stride == 1 ? size - start : (size - start + stride - 1) / stride) : 0;
  if (high > count) high = count;
  if (low > high) low = high;
  *first = static_cast<uint32_t>(low), *last = static_cast<uint32_t>(high);
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
