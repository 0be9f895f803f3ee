// What the convolutions with 8-bit numbers share: an image's bytes, and weights as 8-bit numbers.
// Included by files for all processors only.
#pragma once

#include <math.h>
#include <string.h>

#include "kernels/simd/conv_int8.h"
#include "kernels/simd/conv_runs.h"

namespace sigdca {

// One row's weights as 8-bit numbers, one run behind the other.
class Int8Row8 {
 public:
  sigdca_status allocate(const Context &context, const ConvRuns &runs) {
    const size_t count = runs.num_runs * runs.run_values;
    SIGDCA_TRY(values_.allocate(context, count));
    return bytes.allocate(context, count);
  }

  void read(const Weights &weights, const ConvRuns &runs, size_t row) {
    for (float &value : values_) value = 0;
    for (uint64_t i = weights.row_start[row]; i < weights.row_start[row + 1]; ++i)
      values_[runs.place(weights.columns[i])] = weights.value(i);
    double most = 0;
    for (size_t i = 0; i < values_.size(); i += 2) {
      const double pair = fabs(double{values_[i]}) + fabs(double{values_[i + 1]});
      most = pair > most ? pair : most;
    }
    scale = most / 126;  // each of the two may be rounded up
    const double factor = most > 0 ? 126 / most : 0;
    sum = 0;
    for (size_t i = 0; i < values_.size(); ++i) {
      bytes[i] = static_cast<int8_t>(nearbyint(values_[i] * factor));
      sum += bytes[i];
    }
  }

  Array<int8_t> bytes;
  int32_t sum = 0;
  double scale = 0;

 private:
  Array<float> values_;
};

// Of each output channel, filled up to whole blocks.
struct Int8Outputs {
  Array<int32_t> sums;  // of a row's weights
  Array<float> scales, shifts;
  float low = 0, high = 0;

  sigdca_status allocate(const Context &context, size_t count, const Epilogue &epilogue) {
    low = epilogue.low, high = epilogue.high;
    SIGDCA_TRY(sums.allocate(context, count));
    SIGDCA_TRY(scales.allocate(context, count));
    SIGDCA_TRY(shifts.allocate(context, count));
    memset(sums.data(), 0, sums.bytes());
    memset(scales.data(), 0, scales.bytes());
    memset(shifts.data(), 0, shifts.bytes());
    return SIGDCA_OK;
  }

  void set(size_t place, const Int8Row8 &row, const Epilogue &epilogue, size_t channel) {
    const double scale = epilogue.scale == nullptr ? row.scale
                                                   : row.scale * double{epilogue.scale[channel]};
    sums[place] = row.sum;
    scales[place] = static_cast<float>(scale);
    if (epilogue.shift != nullptr) shifts[place] = epilogue.shift[channel];
  }

  size_t bytes() const { return sums.bytes() + scales.bytes() + shifts.bytes(); }
};

// How an image becomes bytes.
struct Int8Scale {
  float scale, factor;
  int32_t zero;

  // NaN and infinity make all results NaN.
  static Int8Scale of(const Int8Range &range) {
    constexpr float kLeast = 1e-30f;  // smaller values are taken for 0
    if (!(range.wrong == 0)) return Int8Scale{NAN, 0, 0};
    if (range.high < kLeast && range.low > -kLeast) return Int8Scale{0, 0, 0};
    if (range.low == 0) return Int8Scale{range.high / 255, 1 / (range.high / 255), 0};
    const float scale = range.high / 254 - range.low / 254, factor = 1 / scale;
    return Int8Scale{scale, factor, static_cast<int32_t>(nearbyintf(-range.low * factor))};
  }
};

// An image's bytes in scratch memory, made by a team: each thread calls find_range, and behind a
// barrier make_bytes, and waits for the others again.
class Int8Image {
 public:
  static constexpr size_t kSlack = 64;  // behind it: a run's last step may reach there

  Int8Image(const Int8Isa &isa, const ConvRuns &runs, const Team &team, const float *input,
            void *scratch)
      : isa_(isa),
        runs_(runs),
        team_(team),
        input_(input),
        lines_(static_cast<Line *>(scratch)),
        bytes_(reinterpret_cast<uint8_t *>(lines_ + team.size)) {}

  static size_t scratch_bytes(const ConvRuns &runs, uint32_t team_size) {
    return team_size * sizeof(Line) + (runs.image_values() + kSlack + 63) / 64 * 64;
  }

  void find_range() {
    size_t begin = 0, end = 0;
    team_.part(runs_.shape.input.values(), 16, &begin, &end);
    lines_[team_.rank].range = isa_.range(input_ + begin, end - begin);
  }

  void make_bytes() {
    Int8Range all{0, 0, 0};
    for (uint32_t i = 0; i < team_.size; ++i) {
      const Int8Range &range = lines_[i].range;
      all.low = range.low < all.low ? range.low : all.low;
      all.high = range.high > all.high ? range.high : all.high;
      all.wrong = all.wrong + range.wrong;
    }
    scale_ = Int8Scale::of(all);
    size_t begin = 0, end = 0;
    team_.part(runs_.shape.groups * runs_.height, 1, &begin, &end);
    for (size_t i = begin; i < end; ++i) make_row(i / runs_.height, i % runs_.height);
    if (team_.rank == 0) memset(bytes_ + runs_.image_values(), 0, kSlack);
  }

  const uint8_t *bytes() const { return bytes_; }
  float scale() const { return scale_.scale; }
  // What the padding's bytes are when they are multiplied.
  int32_t zero() const { return scale_.zero - isa_.flip; }

 private:
  // Of a thread: a cache line.
  struct Line {
    Int8Range range;
    uint8_t filler[64 - sizeof(Int8Range)];
  };

  void make_row(size_t group, size_t y) {
    const Shape &shape = runs_.shape.input;
    const size_t channels = runs_.channels, plane = size_t{shape.height} * shape.width;
    const ConvRow row(runs_, y);
    const int zero = static_cast<uint8_t>(scale_.zero) ^ isa_.flip;
    uint8_t *to = bytes_ + group * runs_.group_values() + y * runs_.line();
    memset(to, zero, row.left * channels);
    to += row.left * channels;
    if (row.width == 0) return;
    isa_.pack(Int8Row{input_ + group * channels * plane + row.from, plane, channels, row.width,
                      scale_.factor, static_cast<float>(scale_.zero), to});
    memset(to + row.width * channels, zero, row.right * channels);
  }

  const Int8Isa &isa_;
  const ConvRuns &runs_;
  const Team &team_;
  const float *input_;
  Line *lines_;
  uint8_t *bytes_;
  Int8Scale scale_{};
};

}  // namespace sigdca
