// Where a window's values lie in an image with the channels innermost and the padding around it:
// [group][y][x][channel]. Under a window, they are a few runs of neighbours, one for each of its
// rows (or taps, where it is dilated). Included by files for all processors only.
#pragma once

#include "kernels/kernels.h"

namespace sigdca {

struct ConvRuns {
  ConvShape shape{};
  size_t block = 0;                 // output channels that are computed together
  size_t channels = 0, rows = 0;    // of a group: of the input, of the output
  size_t height = 0, width = 0;     // of the image
  size_t num_runs = 0;
  size_t run_values = 0;            // filled up to whole units
  size_t blocks = 0;                // of a group
  size_t band_rows = 0, bands = 0;  // of the output

  ConvRuns() = default;
  // unit: of values in a run; value_bytes: of one value in the image.
  ConvRuns(const ConvShape &conv, size_t block_rows, size_t unit, size_t value_bytes)
      : shape(conv), block(block_rows) {
    const Window &window = shape.window;
    channels = shape.input.channels / shape.groups;
    rows = shape.output.channels / shape.groups;
    height = reach(0), width = reach(1);
    const bool whole_rows = window.dilation[1] == 1;
    num_runs = size_t{window.kernel[0]} * (whole_rows ? 1 : window.kernel[1]);
    run_values = up(channels * (whole_rows ? window.kernel[1] : 1), unit) * unit;
    blocks = up(rows, block);
    // Of an image as much as stays in the second-level cache beside a block's weights.
    const size_t row_bytes = line() * value_bytes * window.stride[0];
    band_rows = row_bytes >= kBandBytes ? 1 : kBandBytes / row_bytes;
    if (band_rows > shape.output.height) band_rows = shape.output.height;
    bands = up(shape.output.height, band_rows);
  }

  size_t line() const { return width * channels; }  // values from one image row to the next
  size_t group_values() const { return height * line(); }
  size_t image_values() const { return shape.groups * group_values(); }
  size_t block_values() const { return num_runs * run_values * block; }
  size_t all_blocks() const { return shape.groups * blocks; }

  // Where a run begins under a window.
  size_t run_start(size_t run) const {
    const size_t in_row = num_runs / shape.window.kernel[0];
    return run / in_row * shape.window.dilation[0] * line() +
           run % in_row * shape.window.dilation[1] * channels;
  }

  // Where a weight's column lies in the runs one behind the other.
  size_t place(size_t column) const {
    const size_t kernel_width = shape.window.kernel[1];
    const size_t taps = shape.window.kernel[0] * kernel_width;
    const size_t channel = column / taps, tap = column % taps;
    if (num_runs == taps && kernel_width > 1) return tap * run_values + channel;
    return tap / kernel_width * run_values + tap % kernel_width * channels + channel;
  }

  // The block, counting all groups', and the place in it of an output channel.
  size_t block_of(size_t row) const { return row / rows * blocks + row % rows / block; }
  size_t lane_of(size_t row) const { return row % rows % block; }

 private:
  static constexpr size_t kBandBytes = 384 * 1024;

  static size_t up(size_t value, size_t unit) { return (value + unit - 1) / unit; }

  // Rows or columns of the image that windows reach.
  size_t reach(int axis) const {
    const Window &window = shape.window;
    const size_t outputs = axis == 0 ? shape.output.height : shape.output.width;
    return (outputs - 1) * window.stride[axis] +
           size_t{window.kernel[axis] - 1} * window.dilation[axis] + 1;
  }
};

// The time of `count` float32 values, `near_ns` each: more where they come from or go to beyond the
// second-level cache.
inline double values_ns(double count, double near_ns) {
  constexpr double kNearValues = 256 * 1024, kFarNs = 0.2;
  return count * (count > kNearValues ? near_ns + kFarNs : near_ns);
}

// A row of the image: `left` places of padding, `width` of the input, `right` of padding.
struct ConvRow {
  size_t left, width, right;
  size_t from;  // of the first channel's values: where the row begins in the group's input

  ConvRow(const ConvRuns &runs, size_t y) {
    const Shape &input = runs.shape.input;
    const size_t top = runs.shape.window.padding[0];
    left = runs.shape.window.padding[1], from = 0;
    if (y < top || y - top >= input.height || left >= runs.width) {
      left = runs.width, width = right = 0;
      return;
    }
    const size_t room = runs.width - left;
    width = input.width < room ? input.width : room;
    right = room - width;
    from = (y - top) * input.width;
  }
};

}  // namespace sigdca
