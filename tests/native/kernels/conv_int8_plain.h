// A layer to check, and plainly what its convolution gives.
#pragma once

#include <math.h>

#include "kernels/kernels.h"

namespace sigdca {

struct Case {
  ConvShape shape{};
  float density = 1, low = 0, high = 0;
  bool has_scale = false, has_shift = false, signs = false;
  int special = 0;  // 1: all zeros, 2: an infinity, 3: a NaN, 4: tiny, 5: huge, 6: all negative
};

// Plainly what conv_int8.h says, or conv_split.h.
class Plain {
 public:
  Plain(const Context &context, const Case &made, const Weights &weights,
        const Epilogue &epilogue, bool bytes)
      : context_(context),
        shape_(made.shape),
        weights_(weights),
        epilogue_(epilogue),
        bytes_(bytes) {}

  // slack: by how much each output may differ.
  sigdca_status run(const float *input, float *output, float *slack) {
    const Window &window = shape_.window;
    channels_ = shape_.input.channels / shape_.groups;
    kernel_width_ = window.kernel[1], taps_ = window.kernel[0] * kernel_width_;
    SIGDCA_TRY(row_.allocate(context_, weights_.cols));
    if (bytes_) find_scale(input);
    for (uint32_t row = 0; row < weights_.rows; ++row) {
      const double scale = make_row(row);
      const uint32_t group = row / (weights_.rows / shape_.groups);
      for (uint32_t y = 0; y < shape_.output.height; ++y)
        for (uint32_t x = 0; x < shape_.output.width; ++x) {
          const Sum sum = sum_at(input, group, y, x);
          if (bytes_ && (sum.value > INT32_MAX || sum.value < INT32_MIN)) return SIGDCA_LIMIT;
          *slack++ = bytes_ ? 0 : static_cast<float>(sum.size * fabs(scale) * 1e-4 + 1e-30);
          *output++ = finish(row, scale, static_cast<float>(sum.value));
        }
    }
    return SIGDCA_OK;
  }

 private:
  struct Sum {
    double value, size;  // of bytes, value is a whole number
  };

  void find_scale(const float *input) {
    float low = 0, high = 0;
    bool finite = true;
    for (size_t i = 0; i < shape_.input.values(); ++i) {
      finite = finite && isfinite(input[i]);
      low = fminf(low, input[i]), high = fmaxf(high, input[i]);
    }
    scale_ = factor_ = zero_ = 0;
    if (!finite) {
      scale_ = NAN;
    } else if (high >= 1e-30f || low <= -1e-30f) {
      scale_ = low == 0 ? high / 255 : high / 254 - low / 254;
      factor_ = 1 / scale_;
      zero_ = nearbyintf(-low * factor_);
    }
  }

  // In the order of the bytes under a window: a row of it (or a tap, where it is dilated) at a
  // time, pairs never across two.
  double make_row(uint32_t row) {
    for (float &value : row_) value = 0;
    for (uint64_t i = weights_.row_start[row]; i < weights_.row_start[row + 1]; ++i) {
      const uint32_t channel = weights_.columns[i] / taps_, tap = weights_.columns[i] % taps_;
      row_[tap * channels_ + channel] = weights_.values[i];
    }
    const uint32_t run =
        shape_.window.dilation[1] == 1 ? kernel_width_ * channels_ : channels_;
    const double scale = epilogue_.scale != nullptr ? double{epilogue_.scale[row]} : 1.0;
    if (!bytes_) return scale;
    double most = 0;
    for (size_t first = 0; first < weights_.cols; first += run)
      for (uint32_t i = 0; i < run; i += 2) {
        const double other = i + 1 < run ? fabs(double{row_[first + i + 1]}) : 0;
        most = fmax(most, fabs(double{row_[first + i]}) + other);
      }
    for (float &value : row_)
      value = most > 0 ? static_cast<float>(nearbyint(value * (126 / most))) : 0;
    return most / 126 * scale;
  }

  Sum sum_at(const float *input, uint32_t group, uint32_t y, uint32_t x) const {
    const Window &window = shape_.window;
    Sum sum{0, 0};
    for (uint32_t tap = 0; tap < taps_; ++tap) {
      const int64_t row = int64_t{y} * window.stride[0] - window.padding[0] +
                          int64_t{tap / kernel_width_} * window.dilation[0];
      const int64_t column = int64_t{x} * window.stride[1] - window.padding[1] +
                             int64_t{tap % kernel_width_} * window.dilation[1];
      if (row < 0 || column < 0 || row >= shape_.input.height || column >= shape_.input.width)
        continue;
      for (uint32_t channel = 0; channel < channels_; ++channel) {
        const size_t plane = size_t{group} * channels_ + channel;
        const float value = input[(plane * shape_.input.height + static_cast<size_t>(row)) *
                                      shape_.input.width + static_cast<size_t>(column)];
        if (bytes_ && isnan(scale_)) continue;
        const double factor = bytes_ ? double{nearbyintf(value * factor_ + zero_)} - zero_ : value;
        const double product = factor * row_[tap * channels_ + channel];
        sum.value += product, sum.size += fabs(product);
      }
    }
    return sum;
  }

  float finish(uint32_t row, double scale, float sum) const {
    const float factor = static_cast<float>(scale);
    float value = bytes_ ? sum * (scale_ * factor) : sum * factor;
    value = value + (epilogue_.shift != nullptr ? epilogue_.shift[row] : 0.0f);
    value = epilogue_.low > value ? epilogue_.low : value;
    return epilogue_.high < value ? epilogue_.high : value;
  }

  const Context &context_;
  const ConvShape &shape_;
  const Weights &weights_;
  const Epilogue &epilogue_;
  bool bytes_;
  Array<float> row_;
  uint32_t channels_ = 0, kernel_width_ = 0, taps_ = 0;
  float scale_ = 0, factor_ = 0, zero_ = 0;
};

}  // namespace sigdca
