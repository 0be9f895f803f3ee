// The tile registers: their configuration, and the order in which all kernels here use them.
#pragma once

#include "kernels/simd/conv_int8_avx512.h"

namespace sigdca::amx {
namespace {

constexpr size_t kTileRows = 16, kTileBytes = 64;  // most of a tile: 16 rows of 64 bytes

struct TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// While it lives, tiles 0 to 3 are sums, 4 and 5 have rows of inputs, `rows` of them; 6 and 7 have
// sixteen rows of weights.
class Tiles {
 public:
  explicit Tiles(size_t rows) {
    TileConfiguration configuration;
    for (int i = 0; i < 8; ++i) {
      configuration.row_bytes[i] = kTileBytes;
      configuration.rows[i] = static_cast<uint8_t>(i < 6 ? rows : kTileRows);
    }
    _tile_loadconfig(&configuration);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles &) = delete;
  Tiles &operator=(const Tiles &) = delete;
};

// An output row of `width` pixels in as few tiles as can be. The last one may overlap the one
// before it: both find the same results there.
struct RowTiles {
  size_t width, count, pixels;

  explicit RowTiles(size_t row_width)
      : width(row_width),
        count((row_width + kTileRows - 1) / kTileRows),
        pixels((row_width + count - 1) / count) {}
  size_t first(size_t number) const {
    const size_t place = number * pixels;
    return place + pixels > width ? width - pixels : place;
  }
};

}  // namespace
}  // namespace sigdca::amx
