// A prepared float32 convolution: its plan and its weights in the order in which they are used.
#pragma once

#include "kernels/simd/conv_plan.h"

namespace sigdca {

// A sparse layer lists its weights by [group][block][row]; a dense one has all, zeros included, by
// [group][block][tile of rows][tap][row of the tile].
struct ConvLayer {
  sigdca_allocator allocator{};
  ConvPlan plan{};
  Epilogue epilogue{};
  bool exact = false, dense = false;
  uint32_t tile_rows = 1;       // dense
  uint32_t code_floats = 1;     // how often each value of the codebook stands there
  Array<float> codebook;        // sparse: of at most 256 shared weights,
  Array<uint8_t> codes;         // with one code a listed weight
  Array<float> values;          // of all others
  Array<uint16_t> offsets;      // sparse: one a listed weight; dense: one a tap
  Array<uint32_t> starts;       // sparse: where each row of each block begins

  size_t weight_bytes() const {
    return codebook.bytes() + codes.bytes() + values.bytes() + offsets.bytes() + starts.bytes();
  }
  uint32_t num_tiles() const { return (plan.geometry.rows + tile_rows - 1) / tile_rows; }
  // Of a chunk of rows, a multiple of the tile.
  size_t sum_floats() const {
    const size_t rows = (size_t{plan.chunk_rows} + tile_rows - 1) / tile_rows * tile_rows;
    return rows * plan.vectors() * plan.lanes;
  }
  size_t thread_floats() const {
    return (plan.max_block_bytes() / sizeof(float) + sum_floats() + 15) / 16 * 16;
  }
};

// Whether a sparse layer keeps one-byte codes of these weights.
inline bool has_codes(const Weights &weights) {
  return weights.num_nonzero() != 0 && weights.shared() && weights.codebook.size() <= 256;
}

sigdca_status prepare_sparse_conv(const Context &context, const ConvTuning &tuning,
                                  const LayerRequest &request, const ConvShape &shape,
                                  const Weights &weights, const Epilogue &epilogue,
                                  PreparedLayer **prepared);
// tile_rows: output channels that are computed together.
sigdca_status prepare_dense_conv(const Context &context, const ConvTuning &tuning,
                                 const LayerRequest &request, const ConvShape &shape,
                                 const Weights &weights, const Epilogue &epilogue,
                                 PreparedLayer **prepared);
void release_conv(const Context &context, PreparedLayer *prepared);
size_t conv_weight_bytes(const PreparedLayer *prepared);
size_t conv_scratch_bytes(const PreparedLayer *prepared, uint32_t team_size);

}  // namespace sigdca
