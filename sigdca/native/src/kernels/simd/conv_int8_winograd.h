// Winograd's convolution F(2x2, 3x3) with 8-bit numbers: 16 products where 36 were, of 16 bits. All
// in integers: weights are four times the transformed ones, sums therefore four times those of
// conv_int8.h, and after a shift the very same. For instruction sets whose 8-bit products are not
// more than twice as fast as their 16-bit ones.
#pragma once

#include "kernels/simd/conv_int8.h"

namespace sigdca {

constexpr size_t kPlaces = 16;  // of a transformed tile

// Some tiles (each 2 by 2 outputs, from 4 by 4 bytes), and one block of output channels.
struct Int8Tiles {
  const uint8_t *image;
  size_t line, channels;            // from one row or pixel to the next, in the image
  size_t tiles_in_row, first, count;
  size_t depth, room;               // channels filled up to eights; count filled up
  int16_t *inputs;                  // [place][tile, `room` of them][depth]
  int32_t *sums;                    // [place][tile, `room` of them][output channel]
  const int16_t *weights;           // [place][depth / 2][output channel][2]
  const int32_t *correction;
  const float *scale, *shift;
  float image_scale, low, high;
  size_t outputs;                   // of the block that there are
  size_t height, width;             // of the output
  float *to;                        // the block's first channel
};

struct Int8WinogradIsa {
  Int8Isa bytes;  // its block and costs are this one's; no `compute`
  void (*transform)(const Int8Tiles &tiles);
  void (*compute)(const Int8Tiles &tiles);
};

// The functions of a ConvKernel, but for `cost_ns` and `prepare`.
double int8_winograd_cost_ns(const Int8WinogradIsa &isa, const LayerRequest &request,
                             const ConvShape &shape);
sigdca_status int8_winograd_prepare(const Int8WinogradIsa &isa, const Context &context,
                                    const ConvShape &shape, const Weights &weights,
                                    const Epilogue &epilogue, PreparedLayer **prepared);
void int8_winograd_release(const Context &context, PreparedLayer *layer);
size_t int8_winograd_weight_bytes(const PreparedLayer *layer);
size_t int8_winograd_scratch_bytes(const PreparedLayer *layer, uint32_t team_size);
void int8_winograd_run(const PreparedLayer *prepared, const Team &team, const float *input,
                       float *output, void *scratch);

}  // namespace sigdca
