// Winograd's convolution F(4x4, 3x3): 36 products for 16 outputs of a 3 x 3 kernel, not 144. Sums
// are other ones than the plain kernels', so the exact profile has no use for it.
#pragma once

#include "kernels/simd/conv_plan.h"

namespace sigdca {

constexpr int kWinogradPoints = 36;

// Of an instruction set.
struct WinogradTuning {
  uint32_t lanes, row_unit;  // as in ConvTuning
  uint32_t unit;             // vectors of one tile of the multiplication at most
  double vector_ns;          // a multiplication and addition of one vector
  double weight_ns;          // to load a byte of weights
  double input_ns, output_ns;  // to transform one vector of 4 x 4 tiles
};

struct WinogradLayer {
  sigdca_allocator allocator{};
  ConvGeometry geometry{};
  Epilogue epilogue{};
  uint32_t lanes = 0, row_unit = 0;
  uint32_t tiles_x = 0, tiles_y = 0;
  uint32_t panel_rows = 0, panels = 0;  // of tiles
  uint32_t vectors = 0;                 // of tiles in a panel
  uint32_t block_channels = 0, num_blocks = 0;  // multiplied together
  // [point][block][row / row_unit][channel of the block][row % row_unit]
  Array<float> weights;

  uint32_t padded_rows() const { return (geometry.rows + row_unit - 1) / row_unit * row_unit; }
  // Of one point and channel.
  size_t channel_floats() const { return size_t{vectors} * lanes; }
  // From one point to the next: an odd number of cache lines, or all points of a tile would want the
  // same few places of the cache.
  static size_t point_floats(size_t floats) { return (floats / 16 | 1) * 16 + 32; }
  size_t input_point() const { return point_floats(geometry.channels * channel_floats()); }
  size_t product_point() const { return point_floats(padded_rows() * channel_floats()); }
  size_t input_floats() const { return kWinogradPoints * input_point(); }
  size_t product_floats() const { return kWinogradPoints * product_point(); }
  // Of a fourth of a line of input. Six lines make a row of tiles.
  size_t quarter_floats() const { return (tiles_x / lanes + 2) * size_t{lanes}; }
  size_t thread_floats() const {
    const size_t floats = input_floats() + product_floats() + 6 * 4 * quarter_floats();
    return (floats + 15) / 16 * 16;
  }
};

double winograd_cost_ns(const WinogradTuning &tuning, const LayerRequest &request,
                        const ConvShape &shape);
sigdca_status prepare_winograd(const Context &context, const WinogradTuning &tuning,
                               const ConvShape &shape, const Weights &weights,
                               const Epilogue &epilogue, PreparedLayer **prepared);
void release_winograd(const Context &context, PreparedLayer *prepared);
size_t winograd_weight_bytes(const PreparedLayer *prepared);
size_t winograd_scratch_bytes(const PreparedLayer *prepared, uint32_t team_size);

}  // namespace sigdca
