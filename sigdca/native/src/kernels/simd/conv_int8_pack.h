// Values to bytes: the range of an image, and its rows with the channels innermost. Needs the
// instruction set's `Ints` and what goes with them (conv_int8_<isa>.h).
#pragma once

#include "kernels/simd/conv_int8.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// The lanes' smallest, largest and wrong.
SIGDCA_INLINE Int8Range reduce(Vec low, Vec high, Vec wrong) {
  float lows[kLanes], highs[kLanes], wrongs[kLanes];
  store(lows, low), store(highs, high), store(wrongs, wrong);
  Int8Range range{0, 0, 0};
  for (int i = 0; i < kLanes; ++i) {
    range.low = lows[i] < range.low ? lows[i] : range.low;
    range.high = highs[i] > range.high ? highs[i] : range.high;
    range.wrong = range.wrong + wrongs[i];
  }
  return range;
}

Int8Range range(const float *values, size_t count) {
  Vec low[2], high[2], wrong[2];
  for (int i = 0; i < 2; ++i) low[i] = high[i] = wrong[i] = zero();
  const auto take = [&](int i, Vec value) SIGDCA_ALWAYS {
    low[i] = min(low[i], value), high[i] = max(high[i], value);
    wrong[i] = add(wrong[i], sub(value, value));
  };
  size_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    take(0, load(values + i));
    take(1, load(values + i + kLanes));
  }
  for (; i < count; i += kLanes)
    take(0, load_part(values + i, count - i < kLanes ? count - i : kLanes));
  return reduce(min(low[0], low[1]), max(high[0], high[1]), add(wrong[0], wrong[1]));
}

// A row's bytes, sixteen channels at a time: few enough for the processor to read ahead in each.
class Packer {
 public:
  explicit SIGDCA_METHOD Packer(const Int8Row &row)
      : row_(row), factor_(set1(row.factor)), zero_(set1(row.zero)) {}

  SIGDCA_METHOD void pack() const {
    size_t channel = 0;
    for (; channel + 16 <= row_.channels; channel += 16) {
      size_t x = 0;
      for (; x + kLanes <= row_.width; x += kLanes) sixteen<true>(x, channel, kLanes);
      if (x < row_.width) sixteen<false>(x, channel, row_.width - x);
    }
    for (; channel < row_.channels; channel += 4) {
      const size_t left = row_.channels - channel < 4 ? row_.channels - channel : 4;
      size_t x = 0;
      for (; x + kLanes <= row_.width; x += kLanes) four<true>(x, channel, left, kLanes);
      if (x < row_.width) four<false>(x, channel, left, row_.width - x);
    }
  }

 private:
  uint8_t *place(size_t x, size_t channel) const { return row_.to + x * row_.channels + channel; }

  // Places [x, x + count) of sixteen channels; kWhole: count is kLanes.
  template <bool kWhole>
  SIGDCA_METHOD void sixteen(size_t x, size_t channel, size_t count) const {
    Ints quads[4];
    for (int i = 0; i < 4; ++i) quads[i] = quad<kWhole>(x, channel + 4 * i, 4, count);
    uint8_t *to = place(x, channel);
    if (kWhole) {
      store_sixteens(to, row_.channels, quads);
    } else {
      uint8_t bytes[16 * kLanes];
      store_sixteens(bytes, 16, quads);
      for (size_t i = 0; i < count; ++i) memcpy(to + i * row_.channels, bytes + 16 * i, 16);
    }
  }

  // Of four channels or fewer.
  template <bool kWhole>
  SIGDCA_METHOD void four(size_t x, size_t channel, size_t channels, size_t count) const {
    uint32_t words[kLanes];
    store_ints(words, quad<kWhole>(x, channel, channels, count));
    uint8_t *to = place(x, channel);
    if (channels == 4) {
      for (size_t i = 0; i < count; ++i) memcpy(to + i * row_.channels, words + i, 4);
    } else if (channels == 1) {
      for (size_t i = 0; i < count; ++i) to[i * row_.channels] = static_cast<uint8_t>(words[i]);
    } else if (channels == row_.channels) {
      // A byte or two too much each, but for the last, which may have another row behind it.
      for (size_t i = 0; i + 1 < count; ++i) memcpy(to + i * channels, words + i, 4);
      memcpy(to + (count - 1) * channels, words + count - 1, channels);
    } else {
      for (size_t i = 0; i < count; ++i) memcpy(to + i * row_.channels, words + i, channels);
    }
  }

  // One byte of each of `channels` channels, the first lowest.
  template <bool kWhole>
  SIGDCA_METHOD Ints quad(size_t x, size_t channel, size_t channels, size_t count) const {
    const float *from = row_.from + channel * row_.plane + x;
    Ints result = bytes<kWhole>(from, count);
    if (channels > 1) result = put<8>(result, bytes<kWhole>(from + row_.plane, count));
    if (channels > 2) result = put<16>(result, bytes<kWhole>(from + 2 * row_.plane, count));
    if (channels > 3) result = put<24>(result, bytes<kWhole>(from + 3 * row_.plane, count));
    return flipped(result);
  }

  template <bool kWhole>
  SIGDCA_METHOD Ints bytes(const float *from, size_t count) const {
    const Vec value = kWhole ? load(from) : load_part(from, count);
    return rounded(add(mul(value, factor_), zero_));
  }

  const Int8Row &row_;
  Vec factor_, zero_;
};

void pack(const Int8Row &row) { Packer(row).pack(); }

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
