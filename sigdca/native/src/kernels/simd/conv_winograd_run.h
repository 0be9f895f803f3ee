// Winograd's convolution (conv_winograd.h) in vectors of tiles. Include a vec_<isa>.h before.
#pragma once

#include "kernels/simd/conv_dense.h"
#include "kernels/simd/conv_interleave.h"
#include "kernels/simd/conv_winograd.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// One thread's scratch memory.
struct WinogradMemory {
  float *input;     // [point][channel][tile]
  float *products;  // [point][row][tile]
  float *quarters;  // [6 lines][4][tile]: values x, x + 4, x + 8, ...
};

// B^T * values.
SIGDCA_INLINE void transform_input(const Vec *x, Vec *y) {
  const Vec four = set1(4), five = set1(5);
  const Vec a = sub(x[4], mul(four, x[2])), b = sub(x[3], mul(four, x[1]));
  const Vec c = sub(x[4], x[2]), half = sub(x[3], x[1]), d = add(half, half);
  y[0] = sub(muladd<false>(x[4], four, x[0]), mul(five, x[2]));
  y[1] = add(a, b), y[2] = sub(a, b), y[3] = add(c, d), y[4] = sub(c, d);
  y[5] = sub(muladd<false>(x[5], four, x[1]), mul(five, x[3]));
}

// A^T * values.
SIGDCA_INLINE void transform_output(const Vec *x, Vec *y) {
  const Vec sum1 = add(x[1], x[2]), sum2 = add(x[3], x[4]);
  const Vec difference1 = sub(x[1], x[2]), difference2 = sub(x[3], x[4]);
  y[0] = add(add(x[0], sum1), sum2);
  y[1] = muladd<false>(difference1, set1(2), difference2);
  y[2] = muladd<false>(sum1, set1(4), sum2);
  y[3] = muladd<false>(add(difference1, x[5]), set1(8), difference2);
}

// kLanes values of a line of `width` from place `x` on; 0 where it has none.
SIGDCA_INLINE Vec load_clipped(const float *line, int64_t x, int64_t width) {
  if (x >= 0 && x + kLanes <= width) return load(line + x);
  if (x >= 0 && x < width) return load_part(line + x, static_cast<size_t>(width - x));
  float values[kLanes] = {};
  for (int i = 0; i < kLanes; ++i)
    if (x + i >= 0 && x + i < width) values[i] = line[x + i];
  return load(values);
}

// Splits input line `y` of a channel, with the padding around it, to quarters.
void split_line(const WinogradLayer &layer, const float *channel, int64_t y, float *quarters) {
  const ConvGeometry &geometry = layer.geometry;
  const size_t quarter = layer.quarter_floats();
  const int64_t width = y >= 0 && y < geometry.in_height ? geometry.in_width : 0;
  const float *line = width == 0 ? channel : channel + y * geometry.in_width;
  for (size_t tile = 0; tile <= layer.tiles_x; tile += kLanes) {
    Vec values[4], parts[4];
    for (int i = 0; i < 4; ++i)
      values[i] = load_clipped(line, static_cast<int64_t>(4 * tile + i * kLanes) - geometry.padding[1],
                               width);
    split4(values, parts);
    for (int i = 0; i < 4; ++i) store(quarters + i * quarter + tile, parts[i]);
  }
}

// Clears the lanes behind those that the last of `tile_rows` rows of tiles has stored: whatever lies
// there, such as denormal numbers, would cost time.
void clear_behind(const WinogradLayer &layer, uint32_t channel, uint32_t tile_rows,
                  const WinogradMemory &memory) {
  const size_t stored = size_t{tile_rows - 1} * layer.tiles_x +
                        (layer.tiles_x + kLanes - 1) / kLanes * kLanes;
  if (stored >= layer.channel_floats()) return;
  float *from = memory.input + channel * layer.channel_floats() + stored;
  for (int point = 0; point < kWinogradPoints; ++point)
    memset(from + point * layer.input_point(), 0, (layer.channel_floats() - stored) * sizeof(float));
}

// Transforms the input tiles of rows [first, last).
void transform_inputs(const WinogradLayer &layer, const float *input, uint32_t first, uint32_t last,
                      const WinogradMemory &memory) {
  const ConvGeometry &geometry = layer.geometry;
  const size_t quarter = layer.quarter_floats(), point_floats = layer.input_point();
  for (uint32_t channel = 0; channel < geometry.channels; ++channel) {
    const float *image = input + size_t{channel} * geometry.in_height * geometry.in_width;
    for (uint32_t tile_y = first; tile_y < last; ++tile_y) {
      const float *lines[6];
      for (uint32_t i = 0; i < 6; ++i) {
        float *line = memory.quarters + (tile_y * 4 + i) % 6 * 4 * quarter;
        lines[i] = line;
        if (i < 2 && tile_y != first) continue;  // from the row above
        split_line(layer, image, int64_t{tile_y} * 4 + i - geometry.padding[0], line);
      }
      float *to = memory.input + channel * layer.channel_floats() +
                  size_t{tile_y - first} * layer.tiles_x;
      for (uint32_t tile = 0; tile < layer.tiles_x; tile += kLanes) {
        Vec half[6][6];
        for (int j = 0; j < 6; ++j) {
          Vec values[6], done[6];
          for (int i = 0; i < 6; ++i)
            values[i] = load(lines[i] + (j & 3) * quarter + tile + (j >> 2));
          transform_input(values, done);
          for (int i = 0; i < 6; ++i) half[i][j] = done[i];
        }
        // What lies behind a row's last tile is overwritten by the next row's, or never used.
        const size_t room = layer.channel_floats() - (size_t{tile_y - first} * layer.tiles_x + tile);
        for (int i = 0; i < 6; ++i) {
          Vec done[6];
          transform_input(half[i], done);
          for (int j = 0; j < 6; ++j) {
            float *place = to + (i * 6 + j) * point_floats + tile;
            if (room < kLanes)
              store_part(place, done[j], room);
            else
              store(place, done[j]);
          }
        }
      }
    }
    clear_behind(layer, channel, last - first, memory);
  }
}

// Transforms products to results of rows [begin, end) and stores them.
void transform_products(const WinogradLayer &layer, uint32_t begin, uint32_t end, uint32_t first,
                        uint32_t last, const WinogradMemory &memory, float *output) {
  const ConvGeometry &geometry = layer.geometry;
  const size_t point_floats = layer.product_point();
  const Epilogue &epilogue = layer.epilogue;
  const RowEnd row_end{epilogue.scale, epilogue.shift, epilogue.low, epilogue.high};
  for (uint32_t row = begin; row < end; ++row) {
    float *image = output + size_t{row} * geometry.out_height * geometry.out_width;
    for (uint32_t tile_y = first; tile_y < last; ++tile_y) {
      const float *from = memory.products + row * layer.channel_floats() +
                          size_t{tile_y - first} * layer.tiles_x;
      for (uint32_t tile = 0; tile < layer.tiles_x; tile += kLanes) {
        Vec half[4][6];
        for (int j = 0; j < 6; ++j) {
          Vec values[6], done[4];
          for (int i = 0; i < 6; ++i) values[i] = load(from + (i * 6 + j) * point_floats + tile);
          transform_output(values, done);
          for (int i = 0; i < 4; ++i) half[i][j] = done[i];
        }
        const uint32_t x = tile * 4, left = geometry.out_width - x;
        for (uint32_t i = 0; i < 4 && tile_y * 4 + i < geometry.out_height; ++i) {
          Vec results[4];
          transform_output(half[i], results);
          const RowFinish finish(row_end, row);
          for (Vec &result : results) result = finish(result);
          float *to = image + size_t{tile_y * 4 + i} * geometry.out_width + x;
          Vec values[4];
          join4(results, values);
          for (uint32_t k = 0; k < 4 && k * kLanes < left; ++k) {
            if (left - k * kLanes >= kLanes)
              store(to + k * kLanes, values[k]);
            else
              store_part(to + k * kLanes, values[k], left - k * kLanes);
          }
        }
      }
    }
  }
}

// Multiplies all points of `vectors` vectors of tiles, for rows [begin, end).
void multiply_points(const WinogradLayer &layer, uint32_t begin, uint32_t end, uint32_t vectors,
                     const WinogradMemory &memory) {
  const ConvGeometry &geometry = layer.geometry;
  const size_t stride = layer.channel_floats(), rows = layer.padded_rows();
  const uint32_t groups = (vectors + kTileVectors - 1) / kTileVectors;
  DenseJob job{};
  job.stride = stride * sizeof(float);
  job.row_floats = stride;
  for (int point = 0; point < kWinogradPoints; ++point)
    for (uint32_t channel = 0; channel < geometry.channels; channel += layer.block_channels) {
      const uint32_t left = geometry.channels - channel;
      job.taps = left < layer.block_channels ? left : layer.block_channels;
      job.first = channel == 0;
      uint32_t vector = 0;
      for (uint32_t group = 0; group < groups; ++group) {
        const uint32_t count = (vectors - vector + groups - group - 1) / (groups - group);
        job.panel = memory.input + layer.input_point() * point + channel * stride + vector * kLanes;
        for (uint32_t row = begin; row < end; row += kTileRows) {
          job.weights = layer.weights.data() + (geometry.channels * size_t(point) + channel) * rows +
                        size_t{row} * job.taps;
          job.sums = memory.products + layer.product_point() * point + row * stride + vector * kLanes;
          dense_tile_of<false, true>(count, job);
        }
        vector += count;
      }
    }
}

void winograd_conv_run(const PreparedLayer *prepared, const Team &team, const float *input,
                       float *output, void *scratch) {
  const WinogradLayer &layer = *reinterpret_cast<const WinogradLayer *>(prepared);
  float *floats = static_cast<float *>(scratch) + layer.thread_floats() * team.rank;
  WinogradMemory memory{};
  memory.input = floats;
  memory.products = memory.input + layer.input_floats();
  memory.quarters = memory.products + layer.product_floats();
  memset(memory.quarters, 0, 6 * 4 * layer.quarter_floats() * sizeof(float));
  const auto run_panel_rows = [&](size_t panel, size_t begin, size_t end) {
    const uint32_t first = static_cast<uint32_t>(panel) * layer.panel_rows;
    const uint32_t left = layer.tiles_y - first;
    const uint32_t last = first + (left < layer.panel_rows ? left : layer.panel_rows);
    transform_inputs(layer, input, first, last, memory);
    const uint32_t tiles = (last - first) * layer.tiles_x;
    multiply_points(layer, static_cast<uint32_t>(begin), static_cast<uint32_t>(end),
                    (tiles + kLanes - 1) / kLanes, memory);
    transform_products(layer, static_cast<uint32_t>(begin), static_cast<uint32_t>(end), first, last,
                       memory, output);
  };
  // As run_panels: whole panels for each thread, then parts of what is left.
  const size_t whole = layer.panels / team.size * team.size;
  size_t begin = 0, end = 0;
  team.part(whole, 1, &begin, &end);
  for (size_t panel = begin; panel < end; ++panel) run_panel_rows(panel, 0, layer.geometry.rows);
  team.part(layer.geometry.rows, kTileRows, &begin, &end);
  if (begin == end) return;
  for (size_t panel = whole; panel < layer.panels; ++panel) run_panel_rows(panel, begin, end);
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
