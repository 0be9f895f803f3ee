// Winograd's products and transforms for the x86 instruction sets. Needs conv_int8_<isa>.h and
// conv_int8_tile.h, and kWinogradTiles: how many tiles are multiplied together.
#pragma once

#include "kernels/simd/conv_int8_winograd.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// Eight channels of four rows or columns: d0 - d2, d1 + d2, d2 - d1, d1 - d3.
SIGDCA_INLINE void transform_four(__m128i &a, __m128i &b, __m128i &c, __m128i &d) {
  const __m128i first = _mm_sub_epi16(a, c), second = _mm_add_epi16(b, c);
  const __m128i third = _mm_sub_epi16(c, b), fourth = _mm_sub_epi16(b, d);
  a = first, b = second, c = third, d = fourth;
}

void transform_inputs(const Int8Tiles &tiles) {
  const size_t step = tiles.room * tiles.depth;
  for (size_t tile = 0; tile < tiles.count; ++tile) {
    const size_t number = tiles.first + tile;
    const uint8_t *from = tiles.image + number / tiles.tiles_in_row * 2 * tiles.line +
                          number % tiles.tiles_in_row * 2 * tiles.channels;
    int16_t *to = tiles.inputs + tile * tiles.depth;
    for (size_t channel = 0; channel < tiles.depth; channel += 8) {
      __m128i d[4][4];
      for (size_t y = 0; y < 4; ++y)
        for (size_t x = 0; x < 4; ++x)
          d[y][x] = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(
              from + y * tiles.line + x * tiles.channels + channel)));
      for (int x = 0; x < 4; ++x) transform_four(d[0][x], d[1][x], d[2][x], d[3][x]);
      for (size_t y = 0; y < 4; ++y) {
        transform_four(d[y][0], d[y][1], d[y][2], d[y][3]);
        for (size_t x = 0; x < 4; ++x)
          _mm_storeu_si128(
              reinterpret_cast<__m128i *>(to + (4 * y + x) * step + channel), d[y][x]);
      }
    }
  }
}

// One place's sums of kTiles tiles.
template <int kTiles>
void multiply_tiles(const Int8Tiles &tiles, const int16_t *inputs, const int16_t *weights,
                    int32_t *to) {
  Ints sums[kTiles][kInt8Vectors];
  repeat<kTiles, kInt8Vectors>(
      [&](auto t, auto v) SIGDCA_ALWAYS { sums[t.value][v.value] = no_ints(); });
  constexpr int kBases = (kTiles + 2) / 3;
  const uint8_t *bases[kBases];
  const size_t step = tiles.depth * sizeof(int16_t);
  repeat<kBases>([&](auto b) SIGDCA_ALWAYS {
    bases[b.value] = reinterpret_cast<const uint8_t *>(inputs) + size_t(3 * b.value) * step;
  });
  const int8_t *block = reinterpret_cast<const int8_t *>(weights);
  for (size_t pair = 0; pair < tiles.depth / 2; ++pair) {
    Weights8 pairs[kInt8Vectors];
    repeat<kInt8Vectors>([&](auto v) SIGDCA_ALWAYS {
      pairs[v.value] = load_weights(block + v.value * kLanes * 4);
    });
    repeat<kTiles>([&](auto t) SIGDCA_ALWAYS {
      const Quad both = load_quad(bases[t.value / 3] + size_t(t.value % 3) * step);
      repeat<kInt8Vectors>([&](auto v) SIGDCA_ALWAYS {
        add_pairs(sums[t.value][v.value], both, pairs[v.value]);
      });
    });
    repeat<kBases>([&](auto b) SIGDCA_ALWAYS { bases[b.value] += 4; });
    block += kBlock * 4;
  }
  repeat<kTiles, kInt8Vectors>([&](auto t, auto v) SIGDCA_ALWAYS {
    store_ints(reinterpret_cast<uint32_t *>(to + t.value * kBlock + v.value * kLanes),
               sums[t.value][v.value]);
  });
}

using MultiplyTiles = void (*)(const Int8Tiles &, const int16_t *, const int16_t *, int32_t *);

template <int kTiles>
SIGDCA_INLINE MultiplyTiles multiply_of(size_t count) {
  if constexpr (kTiles > 1) {
    if (count < kTiles) return multiply_of<kTiles - 1>(count);
  }
  return multiply_tiles<kTiles>;
}

// Two by two results of one tile: four vectors become 2 by 2 values of each channel.
SIGDCA_INLINE void finish_outputs(const Int8Tiles &tiles, const Finish &finish, size_t tile,
                               int vector) {
  const size_t step = tiles.room * kBlock;
  const int32_t *from = tiles.sums + tile * kBlock + size_t(vector) * kLanes;
  Ints rows[2][4];
  for (size_t x = 0; x < 4; ++x) {
    Ints m[4];
    for (size_t y = 0; y < 4; ++y) m[y] = load_ints(from + (4 * y + x) * step);
    rows[0][x] = add_ints(add_ints(m[0], m[1]), m[2]);
    rows[1][x] = subtract(subtract(m[1], m[2]), m[3]);
  }
  Vec results[4];
  for (int y = 0; y < 2; ++y) {
    const Ints(&m)[4] = rows[y];
    results[2 * y] = finish(quarter(add_ints(add_ints(m[0], m[1]), m[2])));
    results[2 * y + 1] = finish(quarter(subtract(subtract(m[1], m[2]), m[3])));
  }
  const size_t number = tiles.first + tile;
  const size_t y = number / tiles.tiles_in_row * 2, x = number % tiles.tiles_in_row * 2;
  const size_t plane = tiles.height * tiles.width;
  const bool two_rows = y + 1 < tiles.height, two_columns = x + 1 < tiles.width;
  float *to = tiles.to + size_t(vector) * kLanes * plane + y * tiles.width + x;
  for (int part = 0; part < kLanes / 4; ++part) {
    __m128 square[4];
    for (int i = 0; i < 4; ++i) square[i] = quarter_of(results[i], part);
    _MM_TRANSPOSE4_PS(square[0], square[1], square[2], square[3]);
    for (int i = 0; i < 4; ++i) {
      const size_t lane = size_t(4 * part + i);
      if (size_t(vector) * kLanes + lane >= tiles.outputs) return;
      float *place = to + lane * plane;
      if (two_columns) {
        _mm_storel_pi(reinterpret_cast<__m64 *>(place), square[i]);
        if (two_rows) _mm_storeh_pi(reinterpret_cast<__m64 *>(place + tiles.width), square[i]);
      } else {
        _mm_store_ss(place, square[i]);
        if (two_rows)
          _mm_store_ss(place + tiles.width, _mm_movehl_ps(square[i], square[i]));
      }
    }
  }
}

void compute_tiles(const Int8Tiles &tiles) {
  for (size_t place = 0; place < kPlaces; ++place) {
    const int16_t *inputs = tiles.inputs + place * tiles.room * tiles.depth;
    const int16_t *weights = tiles.weights + place * tiles.depth * kBlock;
    int32_t *sums = tiles.sums + place * tiles.room * kBlock;
    for (size_t tile = 0; tile < tiles.count; tile += kWinogradTiles) {
      const size_t count = tiles.count - tile;
      multiply_of<kWinogradTiles>(count)(tiles, inputs + tile * tiles.depth, weights,
                                         sums + tile * kBlock);
    }
  }
  Int8Job job{};
  job.image_scale = tiles.image_scale, job.low = tiles.low, job.high = tiles.high;
  job.scale = tiles.scale, job.shift = tiles.shift, job.correction = tiles.correction;
  for (int v = 0; v < kInt8Vectors; ++v) {
    if (size_t(v) * kLanes >= tiles.outputs) break;
    const Finish finish(job, v);
    for (size_t tile = 0; tile < tiles.count; ++tile) finish_outputs(tiles, finish, tile, v);
  }
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
