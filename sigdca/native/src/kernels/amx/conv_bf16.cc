// Convolution of float32 numbers as three products of bfloat16 numbers (conv_split.h) in tiles.
#include "kernels/simd/conv_split.h"

#include "kernels/amx/tiles.h"

namespace sigdca::amx {
namespace {

using avx512::kLanes;
using avx512::Vec;
using Ints = __m512i;

// Sixteen places of two channels, split.
struct Pair {
  Ints high, low;

  // count: how many places there are; from `second` on too, if there is one.
  SIGDCA_METHOD Pair(const float *first, const float *second, size_t count) {
    const Vec a = avx512::load_part(first, count);
    const Vec b = second == nullptr ? avx512::zero() : avx512::load_part(second, count);
    const Ints high_a = upper(a), high_b = upper(b);
    high = both(high_a, high_b);
    low = both(upper(avx512::sub(a, _mm512_castsi512_ps(high_a))),
               upper(avx512::sub(b, _mm512_castsi512_ps(high_b))));
  }

 private:
  // The nearest bfloat16, as a float32.
  static SIGDCA_METHOD Ints upper(Vec value) {
    const Ints bits = _mm512_add_epi32(_mm512_castps_si512(value), _mm512_set1_epi32(0x8000));
    return _mm512_and_si512(bits, _mm512_set1_epi32(-0x10000));
  }
  static SIGDCA_METHOD Ints both(Ints first, Ints second) {
    return _mm512_or_si512(_mm512_srli_epi32(first, 16), second);
  }
};

class Packer {
 public:
  explicit Packer(const SplitRow &row) : row_(row) {}

  // Eight channels at a time, so that their rows are read ahead.
  void pack() const {
    size_t channel = 0;
    for (; channel + 8 <= row_.channels; channel += 8)
      for (size_t x = 0; x < row_.width; x += kLanes) eight(x, channel, count_at(x));
    for (; channel < row_.channels; channel += 2)
      for (size_t x = 0; x < row_.width; x += kLanes) two(x, channel, count_at(x));
  }

 private:
  static constexpr size_t kEight = 8 * sizeof(uint16_t);

  size_t count_at(size_t x) const {
    return row_.width - x < size_t{kLanes} ? row_.width - x : size_t{kLanes};
  }
  const float *from(size_t x, size_t channel) const {
    return row_.from + channel * row_.plane + x;
  }

  SIGDCA_METHOD void eight(size_t x, size_t channel, size_t count) const {
    Ints high[4], low[4];
    for (size_t i = 0; i < 4; ++i) {
      const Pair pair(from(x, channel + 2 * i), from(x, channel + 2 * i + 1), count);
      high[i] = pair.high, low[i] = pair.low;
    }
    put_eights(row_.high + x * row_.channels + channel, high, count);
    put_eights(row_.low + x * row_.channels + channel, low, count);
  }

  SIGDCA_METHOD void put_eights(uint16_t *to, const Ints (&words)[4], size_t count) const {
    const size_t step = row_.channels * sizeof(uint16_t);
    if (count == kLanes) {
      avx512::store_sixteens(reinterpret_cast<uint8_t *>(to), step, words);
      return;
    }
    uint8_t bytes[kEight * kLanes];
    avx512::store_sixteens(bytes, kEight, words);
    for (size_t i = 0; i < count; ++i) memcpy(to + i * row_.channels, bytes + kEight * i, kEight);
  }

  SIGDCA_METHOD void two(size_t x, size_t channel, size_t count) const {
    const bool second = channel + 1 < row_.channels;
    const Pair pair(from(x, channel), second ? from(x, channel + 1) : nullptr, count);
    put_two(row_.high + x * row_.channels + channel, pair.high, second, count);
    put_two(row_.low + x * row_.channels + channel, pair.low, second, count);
  }

  SIGDCA_METHOD void put_two(uint16_t *to, Ints words, bool second, size_t count) const {
    uint32_t pairs[kLanes];
    avx512::store_ints(pairs, words);
    for (size_t i = 0; i < count; ++i) {
      to[i * row_.channels] = static_cast<uint16_t>(pairs[i]);
      if (second) to[i * row_.channels + 1] = static_cast<uint16_t>(pairs[i] >> 16);
    }
  }

  const SplitRow &row_;
};

void pack(const SplitRow &row) { Packer(row).pack(); }

class Computer {
 public:
  explicit Computer(const SplitJob &job) : job_(job), row_(job.width) {}

  void run() {
    const Tiles tiles(row_.pixels);
    const size_t end = job_.end * row_.count;
    for (size_t tile = job_.begin * row_.count; tile < end; tile += 2) {
      const bool both = tile + 1 < end;
      multiply(place(tile), place(both ? tile + 1 : tile));
      finish(0, output(tile));
      if (both) finish(2, output(tile + 1));
    }
  }

 private:
  size_t place(size_t tile) const {
    return tile / row_.count * job_.row_values +
           row_.first(tile % row_.count) * job_.pixel_values;
  }

  float *output(size_t tile) const {
    return job_.to + tile / row_.count * job_.width + row_.first(tile % row_.count);
  }

  void multiply(size_t first, size_t second) {
    constexpr size_t kWeightRow = kSplitBlock * 2 * sizeof(uint16_t);
    constexpr size_t kHalf = kSplitBlock * kSplitUnit, kSecond = kHalf / 32;
    const size_t pixel = job_.pixel_values * sizeof(uint16_t);
    const uint16_t *weights = job_.weights;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t run = 0; run < job_.num_runs; ++run) {
      size_t top = first + job_.runs[run], bottom = second + job_.runs[run];
      for (size_t unit = 0; unit < job_.run_units; ++unit) {
        // high * low
        _tile_loadd(6, weights + kHalf, kWeightRow);
        _tile_loadd(4, job_.high + top, pixel);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, weights + kHalf + kSecond, kWeightRow);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, job_.high + bottom, pixel);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        // high * high
        _tile_loadd(6, weights, kWeightRow);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, weights + kSecond, kWeightRow);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        // low * high
        _tile_loadd(4, job_.low + top, pixel);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, job_.low + bottom, pixel);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        top += kSplitUnit, bottom += kSplitUnit;
        weights += 2 * kHalf;
      }
    }
    _tile_stored(0, sums_[0], kTileBytes);
    _tile_stored(1, sums_[1], kTileBytes);
    _tile_stored(2, sums_[2], kTileBytes);
    _tile_stored(3, sums_[3], kTileBytes);
  }

  // From sums to results of one tile of pixels and both of channels.
  void finish(int first, float *to) const {
    const Vec least = avx512::set1(job_.least), most = avx512::set1(job_.most);
    for (int half = 0; half < 2; ++half) {
      if (size_t(half) * 16 >= job_.channels) break;
      const Vec scale = avx512::load(job_.scale + half * 16);
      const Vec shift = avx512::load(job_.shift + half * 16);
      Vec square[16];
      for (size_t pixel = 0; pixel < kTileRows; ++pixel) {
        const Vec sum = avx512::load(sums_[first + half][pixel]);
        square[pixel] = avx512::min(
            most, avx512::max(least, avx512::add(avx512::mul(sum, scale), shift)));
      }
      avx512::transpose(square);
      const size_t left = job_.channels - size_t(half) * 16;
      for (size_t lane = 0; lane < 16 && lane < left; ++lane)
        avx512::store_part(to + (size_t(half) * 16 + lane) * job_.plane, square[lane],
                           row_.pixels);
    }
  }

  const SplitJob &job_;
  const RowTiles row_;
  // Of two tiles of pixels, 16 channels each.
  alignas(64) float sums_[4][kTileRows][16] = {};
};

void compute(const SplitJob &job) { Computer(job).run(); }

const SplitIsa kIsa = {0.3, 0.2, 2.7e-3, pack, compute};

double cost_ns(const LayerRequest &request, const ConvShape &shape, const Weights &) {
  return split_cost_ns(kIsa, request, shape);
}

sigdca_status prepare(const Context &context, const LayerRequest &, const ConvShape &shape,
                      const Weights &weights, const Epilogue &epilogue, PreparedLayer **layer) {
  return split_prepare(kIsa, context, shape, weights, epilogue, layer);
}

}  // namespace

extern const ConvKernel bf16_conv;
const ConvKernel bf16_conv = {"amx-bf16x3",       cost_ns,            prepare, split_release,
                              split_weight_bytes, split_scratch_bytes, split_run};

}  // namespace sigdca::amx
