// Convolution of float32 numbers as three products of bfloat16 numbers: each value and each weight
// is a high part and a low one, and high * high + high * low + low * high is the product but for
// 2^-16 of it. What an instruction set brings, and what it is given. The image lies as in
// conv_runs.h, first all high parts, then all low ones; runs are filled up to whole units of 32.
#pragma once

#include "kernels/kernels.h"

namespace sigdca {

constexpr size_t kSplitBlock = 32;  // output channels that are computed together
constexpr size_t kSplitUnit = 32;

// One row of an image.
struct SplitRow {
  const float *from;  // of the first channel
  size_t plane;       // from one channel to the next
  size_t channels, width;
  uint16_t *high, *low;  // of the row's first value, `channels` numbers a place
};

// Output rows [begin, end) of one block of output channels.
struct SplitJob {
  const uint16_t *high, *low;         // the group's image
  size_t row_values, pixel_values;    // from one output row or pixel to the next, in the image
  const uint32_t *runs;               // where they begin under a window
  size_t num_runs, run_units;
  const uint16_t *weights;            // [run][unit][high, low][pair][output channel][2]
  const float *scale, *shift;         // of each output channel
  float least, most;
  size_t channels;                    // of the block that there are
  size_t width, plane;                // of the output
  size_t begin, end;
  float *to;                          // the block's first channel
};

struct SplitIsa {
  double load_ns;     // the time an input value takes until it is in its place
  double store_ns;    // of an output value, from sum to result
  double product_ns;  // of a product
  void (*pack)(const SplitRow &row);
  void (*compute)(const SplitJob &job);
};

// The functions of a ConvKernel, but for `cost_ns` and `prepare`. Not for the exact profile.
double split_cost_ns(const SplitIsa &isa, const LayerRequest &request, const ConvShape &shape);
sigdca_status split_prepare(const SplitIsa &isa, const Context &context, const ConvShape &shape,
                            const Weights &weights, const Epilogue &epilogue,
                            PreparedLayer **prepared);
void split_release(const Context &context, PreparedLayer *layer);
size_t split_weight_bytes(const PreparedLayer *layer);
size_t split_scratch_bytes(const PreparedLayer *layer, uint32_t team_size);
void split_run(const PreparedLayer *prepared, const Team &team, const float *input,
               float *output, void *scratch);

}  // namespace sigdca
