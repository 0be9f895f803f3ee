// The products: a tile of output pixels times a block of output channels, lanes being channels.
// Needs the instruction set's `Ints`, kInt8Pixels and kInt8Vectors (conv_int8_<isa>.h).
#pragma once

#include "kernels/simd/conv_int8.h"
#include "kernels/simd/conv_int8_repeat.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

constexpr int kBlock = kInt8Vectors * kLanes;

// From a sum to a result.
struct Finish {
  Vec scale, shift, low, high;
  Ints correction;

  SIGDCA_METHOD Finish(const Int8Job &job, int vector)
      : scale(mul(set1(job.image_scale), load(job.scale + vector * kLanes))),
        shift(load(job.shift + vector * kLanes)),
        low(set1(job.low)),
        high(set1(job.high)),
        correction(load_ints(job.correction + vector * kLanes)) {}

  SIGDCA_METHOD Vec operator()(Ints sum) const {
    const Vec value = to_floats(subtract(sum, correction));
    return min(high, max(low, add(mul(value, scale), shift)));
  }
};

// The sums of kPixels neighbours under all runs.
template <int kPixels>
SIGDCA_INLINE void sum_up(const Int8Job &job, const uint8_t *from,
                          Ints (&sums)[kPixels][kInt8Vectors]) {
  const size_t pixel = job.pixel_bytes;
  const int8_t *weights = job.weights;
  repeat<kPixels, kInt8Vectors>(
      [&](auto p, auto v) SIGDCA_ALWAYS { sums[p.value][v.value] = no_ints(); });
  for (size_t run = 0; run < job.num_runs; ++run) {
    // Few registers for many addresses: three pixels each.
    constexpr int kBases = (kPixels + 2) / 3;
    const uint8_t *bases[kBases];
    repeat<kBases>([&](auto b) SIGDCA_ALWAYS {
      bases[b.value] = from + job.runs[run] + size_t(3 * b.value) * pixel;
    });
    for (size_t step = 0; step < job.run_steps; ++step) {
      Weights8 block[kInt8Vectors];
      repeat<kInt8Vectors>([&](auto v) SIGDCA_ALWAYS {
        block[v.value] = load_weights(weights + v.value * kLanes * 4);
      });
      repeat<kPixels>([&](auto p) SIGDCA_ALWAYS {
        const Quad quad = load_quad(bases[p.value / 3] + size_t(p.value % 3) * pixel);
        repeat<kInt8Vectors>([&](auto v) SIGDCA_ALWAYS {
          add_products(sums[p.value][v.value], quad, block[v.value]);
        });
      });
      repeat<kBases>([&](auto b) SIGDCA_ALWAYS { bases[b.value] += 4; });
      weights += kBlock * 4;
    }
  }
}

// The sums of a tile, pixel by pixel.
struct Sums {
  alignas(64) uint32_t pixels[kInt8Pixels][kBlock];
};

// From sums of `count` pixels to results: squares of pixels become rows of their channels. Once for
// all tiles, as it is long.
__attribute__((noinline)) void finish_tile(const Int8Job &job, const Sums &sums, size_t count,
                                           float *to) {
  for (size_t vector = 0; vector * kLanes < job.channels; ++vector) {
    const Finish finish(job, static_cast<int>(vector));
    const size_t channels = job.channels - vector * kLanes;
    for (size_t first = 0; first < count; first += kLanes) {
      const size_t pixels = count - first < kLanes ? count - first : kLanes;
      Vec rows[kLanes];
      for (size_t p = 0; p < kLanes; ++p) {
        const size_t pixel = p < pixels ? first + p : first;
        rows[p] = finish(load_ints(
            reinterpret_cast<const int32_t *>(sums.pixels[pixel] + vector * kLanes)));
      }
      transpose(rows);
      for (size_t lane = 0; lane < kLanes; ++lane) {
        if (lane >= channels) break;
        float *place = to + (vector * kLanes + lane) * job.plane + first;
        if (pixels == kLanes)
          store(place, rows[lane]);
        else
          store_part(place, rows[lane], pixels);
      }
    }
  }
}

template <int kPixels>
void tile(const Int8Job &job, const uint8_t *from, float *to) {
  Ints sums[kPixels][kInt8Vectors];
  sum_up<kPixels>(job, from, sums);
  Sums stored;
  repeat<kPixels, kInt8Vectors>([&](auto p, auto v) SIGDCA_ALWAYS {
    store_ints(stored.pixels[p.value] + v.value * kLanes, sums[p.value][v.value]);
  });
  finish_tile(job, stored, kPixels, to);
}

using TileFunction = void (*)(const Int8Job &, const uint8_t *, float *);

template <int kPixels>
SIGDCA_INLINE TileFunction tile_of(size_t pixels) {
  if constexpr (kPixels > 1) {
    if (pixels < kPixels) return tile_of<kPixels - 1>(pixels);
  }
  return tile<kPixels>;
}

// Results of neighbouring tiles on their way to planes that are far apart: whole cache lines.
struct Shelf {
  static constexpr size_t kTiles = 112 / kInt8Pixels;
  static constexpr size_t kWidth = (kTiles * kInt8Pixels + kLanes - 1) / kLanes * kLanes;
  alignas(64) float rows[kBlock][kWidth];

  SIGDCA_METHOD void empty(const Int8Job &job, size_t count, float *to) const {
    for (size_t row = 0; row < job.channels; ++row) {
      float *place = to + row * job.plane;
      size_t i = 0;
      for (; i + kLanes <= count; i += kLanes) store(place + i, load(rows[row] + i));
      if (i < count) store_part(place + i, load(rows[row] + i), count - i);
    }
  }
};

// Each row is cut into as few tiles as can be, as equal as can be.
void compute(const Int8Job &job) {
  const size_t tiles = (job.width + kInt8Pixels - 1) / kInt8Pixels;
  const size_t few = job.width / tiles, larger = job.width % tiles;
  const TileFunction small = tile_of<kInt8Pixels>(few), large = tile_of<kInt8Pixels>(few + 1);
  const bool wide = job.width >= 32;
  Shelf shelf;
  Int8Job on_shelf = job;
  on_shelf.plane = Shelf::kWidth;
  for (size_t y = job.begin; y < job.end; ++y) {
    const uint8_t *from = job.image + y * job.row_bytes;
    float *to = job.to + y * job.width;
    size_t filled = 0;
    for (size_t i = 0; i < tiles; ++i) {
      const size_t pixels = i < larger ? few + 1 : few;
      const TileFunction function = i < larger ? large : small;
      if (wide) {
        function(on_shelf, from, shelf.rows[0] + filled);
        filled += pixels;
        if ((i + 1) % Shelf::kTiles == 0 || i + 1 == tiles) {
          shelf.empty(job, filled, to);
          to += filled;
          filled = 0;
        }
      } else {
        function(job, from, to);
        to += pixels;
      }
      from += pixels * job.pixel_bytes;
    }
  }
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
