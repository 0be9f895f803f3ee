// Depthwise convolution (conv_depthwise.h). Include a vec_<isa>.h before.
#pragma once

#include "kernels/simd/conv_depthwise.h"
#include "kernels/simd/conv_panel.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// Copies input line `y`, cut to parts, with zeros where there is no input.
void copy_line(const DepthwiseLayer &layer, const float *image, int64_t y, float *to) {
  const ConvGeometry &geometry = layer.geometry;
  const size_t stride = geometry.stride[1], count = layer.part_floats();
  if (y < 0 || y >= geometry.in_height) {
    memset(to, 0, layer.line_floats() * sizeof(float));
    return;
  }
  const float *from = image + y * geometry.in_width;
  for (size_t part = 0; part < stride; ++part, to += count) {
    const int64_t start = static_cast<int64_t>(part) - geometry.padding[1];
    uint32_t first = 0, last = 0;
    clip(start, static_cast<int64_t>(stride), geometry.in_width, static_cast<int64_t>(count), &first,
         &last);
    memset(to, 0, first * sizeof(float));
    const float *at = from + (start + static_cast<int64_t>(first * stride));
    if (first == last)
      ;
    else if (stride == 1)
      memcpy(to + first, at, (last - first) * sizeof(float));
    else if (stride == 2)
      for (size_t i = 0; i < last - first; ++i) to[first + i] = at[2 * i];
    else
      for (size_t i = 0; i < last - first; ++i) to[first + i] = at[stride * i];
    memset(to + last, 0, (count - last) * sizeof(float));
  }
}

// kRows output rows, one vector each. line: from one row's input to the next.
template <int kRows, bool kExact>
SIGDCA_INLINE void depthwise_rows(const DepthwiseLayer &layer, const float *weights,
                                  const float *input, size_t line, size_t channel, uint32_t count,
                                  float *output) {
  const Epilogue &epilogue = layer.epilogue;
  const RowEnd end{epilogue.scale, epilogue.shift, epilogue.low, epilogue.high};
  const size_t taps = layer.offsets.size();
  Vec sums[kRows];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) sums[row] = zero();
  for (size_t tap = 0; tap < taps; ++tap) {
    const float *from = input + layer.offsets[tap];
    const Vec weight = broadcast(weights + tap);
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row)
      sums[row] = muladd<kExact>(sums[row], weight, load(from + row * line));
  }
  const RowFinish finish(end, channel);
#pragma GCC unroll 32
  for (int row = 0; row < kRows; ++row) sums[row] = finish(sums[row]);
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
    float *to = output + size_t(row) * layer.geometry.out_width;
    if (count >= kLanes)
      store(to, sums[row]);
    else
      store_part(to, sums[row], count);
  }
}

template <bool kExact>
void depthwise_band(const DepthwiseLayer &layer, const float *band, size_t channel, uint32_t rows,
                    float *output) {
  const ConvGeometry &geometry = layer.geometry;
  const float *weights = layer.weights.data() + channel * layer.offsets.size();
  const size_t line = layer.line_floats() * geometry.stride[0];
  uint32_t row = 0;
  for (; row + 4 <= rows; row += 4)
    for (uint32_t x = 0; x < geometry.out_width; x += kLanes)
      depthwise_rows<4, kExact>(layer, weights, band + row * line + x, line, channel,
                                geometry.out_width - x,
                                output + size_t{row} * geometry.out_width + x);
  for (; row < rows; ++row)
    for (uint32_t x = 0; x < geometry.out_width; x += kLanes)
      depthwise_rows<1, kExact>(layer, weights, band + row * line + x, line, channel,
                                geometry.out_width - x,
                                output + size_t{row} * geometry.out_width + x);
}

void depthwise_conv_run(const PreparedLayer *prepared, const Team &team, const float *input,
                        float *output, void *scratch) {
  const DepthwiseLayer &layer = *reinterpret_cast<const DepthwiseLayer *>(prepared);
  const ConvGeometry &geometry = layer.geometry;
  float *band = static_cast<float *>(scratch) + layer.thread_floats() * team.rank;
  const auto function =
      layer.exact && kTwoRoundings ? depthwise_band<kTwoRoundings> : depthwise_band<false>;
  size_t begin = 0, end = 0;
  team.part(geometry.groups, 1, &begin, &end);
  for (size_t channel = begin; channel < end; ++channel) {
    const float *image = input + channel * geometry.in_height * geometry.in_width;
    float *result = output + channel * geometry.out_height * geometry.out_width;
    for (uint32_t row = 0; row < geometry.out_height; row += layer.band) {
      const uint32_t left = geometry.out_height - row;
      const uint32_t rows = left < layer.band ? left : layer.band;
      const uint32_t lines = layer.lines() - (layer.band - rows) * geometry.stride[0];
      for (uint32_t y = 0; y < lines; ++y)
        copy_line(layer, image, int64_t{row} * geometry.stride[0] + y - geometry.padding[0],
                  band + y * layer.line_floats());
      function(layer, band, channel, rows, result + size_t{row} * geometry.out_width);
    }
  }
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
