// How a float32 convolution is cut to pieces: which outputs share a vector, which vectors a panel,
// and which taps of a sum are done before the next (a block).
//
// Vectors. Output rows are cut into segments of `rows` rows. One lane computes one column of one
// segment; `lanes` columns side by side, over all segments, are a strip. So a strip has `rows`
// vectors, and vector r + 1 holds the outputs below those of vector r. A panel is `strips` strips,
// computed together: all its vectors stay in registers while taps are added.
//
// Taps. For each tap (channel, ky, kx) of a block the inputs that a panel needs are packed as one run
// of vectors in the sums' order [row][strip]. Taps that differ in ky alone share them: moving ky by
// one moves the run by one row (by stride and dilation: see `period`).
#pragma once

#include "kernels/kernels.h"

namespace sigdca {

// What the choice of a plan depends on: an instruction set's measures, times in nanoseconds.
struct ConvTuning {
  uint32_t lanes;
  uint32_t sizes;        // bit v: panels may have v vectors
  uint32_t unit;         // panels are best a multiple of so many vectors
  uint32_t row_unit;     // and sums of so many output channels are computed together
  uint32_t code_floats;  // a codebook's values are repeated so often
  uint32_t block_bytes;  // of packed input: what stays in the first cache; at most 65,536
  double vector_ns;      // a multiplication and addition of one vector
  double tap_ns;         // besides, for each weight and panel
  double panel_ns;       // besides, for each panel and block
  double row_ns;         // for each output channel, panel and block
  double sum_ns;         // besides, to load and store a vector of sums
  double pack_ns;        // to pack a vector
  double gather_ns;      // the same with a stride
  double store_ns;       // to store a vector of results
};

// Of one group. A 1 x 1 kernel without stride and padding sees one long row.
struct ConvGeometry {
  uint32_t groups, channels, rows;  // input and output channels of a group
  uint32_t in_height, in_width, out_height, out_width;
  uint32_t kernel[2], stride[2], dilation[2];
  int64_t padding[2];

  size_t taps() const { return size_t{channels} * kernel[0] * kernel[1]; }
};

ConvGeometry make_geometry(const ConvShape &shape);

// Taps that are packed together: whole channels, or a part of one channel's kernel.
struct ConvBlock {
  uint32_t channel, channels;
  uint32_t ky, num_ky, kx, num_kx;
  uint32_t first_tap, num_taps;  // in [channel][ky][kx] order
};

struct ConvPlan {
  ConvGeometry geometry;
  uint32_t lanes;
  uint32_t segments, rows;    // of the output's rows: segments * rows >= out_height
  uint32_t strips;            // in the output
  uint32_t panel_strips, panels;
  uint32_t period, step;      // taps ky and ky + period share a plane, `step` rows apart
  uint32_t block_channels, block_ky, block_kx;  // of a block at most
  uint32_t num_blocks;        // of a group
  uint32_t chunk_rows;        // output channels that are computed before the next
  double pack_ns, total_ns;   // on one thread

  uint32_t vectors() const { return panel_strips * rows; }
  // Of `num_ky` taps of one column: how many rows of vectors are packed.
  uint32_t column_rows(uint32_t num_ky) const;
  // Of a block's tap `ky`, counted from the block's first: the row that its run begins with.
  uint32_t row_of(uint32_t num_ky, uint32_t ky) const;
  uint32_t rows_of_planes(uint32_t num_ky, uint32_t planes) const;
  // Rows of the plane of ky, ky + period, ...; ky < period.
  uint32_t plane_rows(uint32_t num_ky, uint32_t ky) const;
  ConvBlock block(uint32_t index) const;
  size_t block_bytes(const ConvBlock &block) const;
  // Of a tap in a block, counted from the block's first: its run's place in bytes.
  uint32_t tap_offset(const ConvBlock &block, uint32_t tap) const;
  size_t max_block_bytes() const;
};

// The plan of least time. nonzero: weights that are multiplied, of all groups.
ConvPlan make_plan(const ConvTuning &tuning, const ConvShape &shape, double nonzero);

}  // namespace sigdca
