// Depthwise convolution: each output channel sees one input channel. No panels: a band of the
// channel's input is copied with its padding around it, and each tap reads it where it lies.
#pragma once

#include "kernels/simd/conv_plan.h"

namespace sigdca {

// Of an instruction set, times in nanoseconds.
struct DepthwiseTuning {
  uint32_t lanes;
  double vector_ns;   // a multiplication and addition of one vector
  double copy_ns;     // to copy a vector of input
  double store_ns;    // to begin and store a vector of output
  double line_ns;     // besides, for each line of input
};

struct DepthwiseLayer {
  sigdca_allocator allocator{};
  ConvGeometry geometry{};
  Epilogue epilogue{};
  uint32_t lanes = 0;
  bool exact = false;
  uint32_t band = 0;            // output rows computed together
  Array<float> weights;         // [channel][tap], zeros included
  Array<uint32_t> offsets;      // of each tap, in floats, in the band

  // A line of input is cut to as many parts as the stride is wide: x, x + stride, ...
  uint32_t lines() const {
    return (band - 1) * geometry.stride[0] + (geometry.kernel[0] - 1) * geometry.dilation[0] + 1;
  }
  size_t part_floats() const {
    const size_t reach = size_t{geometry.kernel[1] - 1} * geometry.dilation[1] / geometry.stride[1];
    return (geometry.out_width + reach + lanes - 1) / lanes * lanes + lanes;
  }
  size_t line_floats() const { return part_floats() * geometry.stride[1]; }
  size_t thread_floats() const { return (lines() * line_floats() + 15) / 16 * 16; }
};

double depthwise_cost_ns(const DepthwiseTuning &tuning, const ConvShape &shape);
sigdca_status prepare_depthwise(const Context &context, const DepthwiseTuning &tuning, bool exact,
                                const ConvShape &shape, const Weights &weights,
                                const Epilogue &epilogue, PreparedLayer **prepared);
void release_depthwise(const Context &context, PreparedLayer *prepared);
size_t depthwise_weight_bytes(const PreparedLayer *prepared);
size_t depthwise_scratch_bytes(const PreparedLayer *prepared, uint32_t team_size);

}  // namespace sigdca
