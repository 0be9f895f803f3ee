// Convolution with 8-bit numbers in tiles: 32 output pixels times 32 output channels at a time.
#include "kernels/amx/tiles.h"

#include "kernels/simd/conv_int8_pack.h"

namespace sigdca::amx {
namespace {

using avx512::Ints;
using avx512::Vec;

constexpr uint32_t kBlock = 32;

// Sums of two tiles of pixels, 16 channels each.
struct Sums {
  alignas(64) int32_t tile[4][kTileRows][16];
};

class Computer {
 public:
  explicit Computer(const Int8Job &job) : job_(job), row_(job.width) {}

  void run() {
    const Tiles tiles(row_.pixels);
    const size_t end = job_.end * row_.count;
    for (size_t tile = job_.begin * row_.count; tile < end; tile += 2) {
      const bool both = tile + 1 < end;
      multiply(image(tile), image(both ? tile + 1 : tile));
      finish(0, output(tile));
      if (both) finish(2, output(tile + 1));
    }
  }

 private:
  const uint8_t *image(size_t tile) const {
    return job_.image + tile / row_.count * job_.row_bytes +
           row_.first(tile % row_.count) * job_.pixel_bytes;
  }

  float *output(size_t tile) const {
    return job_.to + tile / row_.count * job_.width + row_.first(tile % row_.count);
  }

  void multiply(const uint8_t *first, const uint8_t *second) {
    constexpr size_t kWeightRow = kBlock * 4;
    const size_t pixel = job_.pixel_bytes;
    const int8_t *weights = job_.weights;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t run = 0; run < job_.num_runs; ++run) {
      const uint8_t *top = first + job_.runs[run], *bottom = second + job_.runs[run];
      for (size_t step = 0; step < job_.run_steps; step += 16) {
        _tile_loadd(6, weights, kWeightRow);
        _tile_loadd(4, top, pixel);
        _tile_dpbusd(0, 4, 6);
        _tile_loadd(7, weights + kTileBytes, kWeightRow);
        _tile_dpbusd(1, 4, 7);
        _tile_loadd(5, bottom, pixel);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
        top += kTileBytes, bottom += kTileBytes;
        weights += kWeightRow * kTileRows;
      }
    }
    _tile_stored(0, sums_.tile[0], kTileBytes);
    _tile_stored(1, sums_.tile[1], kTileBytes);
    _tile_stored(2, sums_.tile[2], kTileBytes);
    _tile_stored(3, sums_.tile[3], kTileBytes);
  }

  // From sums to results of one tile of pixels and both of channels.
  void finish(int first, float *to) const {
    const Vec low = avx512::set1(job_.low), high = avx512::set1(job_.high);
    for (int half = 0; half < 2; ++half) {
      if (size_t(half) * 16 >= job_.channels) break;
      const Vec scale =
          avx512::mul(avx512::set1(job_.image_scale), avx512::load(job_.scale + half * 16));
      const Vec shift = avx512::load(job_.shift + half * 16);
      const Ints correction = avx512::load_ints(job_.correction + half * 16);
      Vec square[16];
      for (size_t pixel = 0; pixel < kTileRows; ++pixel) {
        const Ints sum = avx512::load_ints(sums_.tile[first + half][pixel]);
        const Vec value = avx512::to_floats(avx512::subtract(sum, correction));
        square[pixel] = avx512::min(
            high, avx512::max(low, avx512::add(avx512::mul(value, scale), shift)));
      }
      avx512::transpose(square);
      const size_t left = job_.channels - size_t(half) * 16;
      for (size_t lane = 0; lane < 16 && lane < left; ++lane)
        avx512::store_part(to + (size_t(half) * 16 + lane) * job_.plane, square[lane],
                           row_.pixels);
    }
  }

  const Int8Job &job_;
  const RowTiles row_;
  Sums sums_{};
};

void compute(const Int8Job &job) { Computer(job).run(); }

const Int8Isa kIsa = {kBlock, 64,    false,         0,            0.1,
                      0.1,    5.5e-4, avx512::range, avx512::pack, compute};

double cost_ns(const LayerRequest &request, const ConvShape &shape, const Weights &weights) {
  return int8_cost_ns(kIsa, request, shape, weights);
}

sigdca_status prepare(const Context &context, const LayerRequest &, const ConvShape &shape,
                      const Weights &weights, const Epilogue &epilogue, PreparedLayer **layer) {
  return int8_prepare(kIsa, context, shape, weights, epilogue, layer);
}

}  // namespace

extern const ConvKernel int8_conv;
const ConvKernel int8_conv = {"amx-int8",          cost_ns,           prepare, int8_release,
                              int8_weight_bytes, int8_scratch_bytes, int8_run};

}  // namespace sigdca::amx
