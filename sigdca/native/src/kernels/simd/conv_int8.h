// Convolution with 8-bit numbers: what an instruction set brings to it, and what it is given.
//
// An image's values x become bytes q = round(x / scale) + zero, 0..255, with one scale and zero an
// image. Weights become w = round(weight / scale[row]), so small that each two neighbours' |w| sum
// to 127 at most: then no instruction set's 16-bit sums of products overflow, and all give the same
// 32-bit sums. The result of a row is (sum(q * w) - zero * sum(w)) * scale * scale[row] + shift,
// clamped; each of these operations rounds once, so it is the same everywhere, too.
//
// The bytes lie as [group][y][x][channel], with the padding around them. Under a window, they are
// a few runs of neighbours: one for each of its rows (or taps, where it is dilated). A run is
// filled up to whole steps of `unit` bytes by weights of 0.
#pragma once

#include "kernels/kernels.h"

namespace sigdca {

// Of some values; `wrong` is 0, or NaN if one is infinite or NaN.
struct Int8Range {
  float low, high, wrong;
};

// One row of an image's bytes.
struct Int8Row {
  const float *from;       // of the first channel
  size_t plane;            // from one channel to the next
  size_t channels, width;
  float factor, zero;      // q = round(x * factor + zero)
  uint8_t *to;             // the row's first value, `channels` bytes a place
};

// Output rows [begin, end) of one block of output channels.
struct Int8Job {
  const uint8_t *image;         // the group's
  size_t row_bytes, pixel_bytes;  // from one output row or pixel to the next, in the image
  const uint32_t *runs;         // where they begin under a window
  size_t num_runs, run_steps;   // steps of 4 bytes a run
  const int8_t *weights;        // of this block: [run][step][output channel][4]
  const int32_t *correction;    // zero * sum(w), of each output channel
  const float *scale, *shift;   // of each output channel
  float image_scale, low, high;
  size_t channels;              // of the block that there are
  size_t width, plane;          // of the output
  size_t begin, end;
  float *to;                    // the block's first channel
};

// What an instruction set brings. Functions are called with part of the work by every thread.
struct Int8Isa {
  uint32_t block;      // output channels that are computed together
  uint32_t unit;       // of a run's bytes; 4 or a multiple
  bool pairs;          // weights of four output channels: two of each, then the other two of each
  uint8_t flip;        // is xored to the bytes
  double load_ns;      // the time an input value takes until it is a byte in its place
  double store_ns;     // of an output value, from sum to result
  double product_ns;   // of a product
  Int8Range (*range)(const float *values, size_t count);
  void (*pack)(const Int8Row &row);
  void (*compute)(const Int8Job &job);
};

// The functions of a ConvKernel, but for `cost_ns` and `prepare`.
double int8_cost_ns(const Int8Isa &isa, const LayerRequest &request, const ConvShape &shape,
                    const Weights &weights);
sigdca_status int8_prepare(const Int8Isa &isa, const Context &context, const ConvShape &shape,
                           const Weights &weights, const Epilogue &epilogue,
                           PreparedLayer **prepared);
void int8_release(const Context &context, PreparedLayer *layer);
size_t int8_weight_bytes(const PreparedLayer *layer);
size_t int8_scratch_bytes(const PreparedLayer *layer, uint32_t team_size);
void int8_run(const PreparedLayer *prepared, const Team &team, const float *input, float *output,
              void *scratch);

}  // namespace sigdca
