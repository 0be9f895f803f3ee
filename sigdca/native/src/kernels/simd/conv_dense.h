// Dense convolution: tiles of kTileRows output channels by kTileVectors vectors of the panel. Include
// a vec_<isa>.h before.
#pragma once

#include "kernels/simd/conv_panel.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// As many sums as stay in registers beside the weights of a tap.
constexpr int kTileRows = kRegisters >= 32 ? 4 : 2;
constexpr int kTileVectors = 6;

struct DenseJob {
  const float *panel;       // from the tile's first vector on
  const float *weights;     // [tap][row]
  const uint16_t *offsets;  // of each tap's vectors in the panel;
  size_t stride;            // or else from one tap's to the next, in bytes
  uint32_t taps;
  float *sums;              // of the tile's first row and vector
  size_t row_floats;
  bool first;
};

template <int kVectors, bool kExact, bool kStrided>
void dense_tile(const DenseJob &job) {
  Vec sums[kTileRows][kVectors];
#pragma GCC unroll 8
  for (int row = 0; row < kTileRows; ++row)
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i)
      sums[row][i] = job.first ? zero() : load(job.sums + row * job.row_floats + i * kLanes);
  const float *weights = job.weights;
  const char *panel = reinterpret_cast<const char *>(job.panel);
  for (uint32_t tap = 0; tap < job.taps; ++tap, weights += kTileRows) {
    const float *run = reinterpret_cast<const float *>(panel + (kStrided ? tap * job.stride : job.offsets[tap]));
    Vec weight[kTileRows];
#pragma GCC unroll 8
    for (int row = 0; row < kTileRows; ++row) weight[row] = broadcast(weights + row);
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      const Vec value = load(run + i * kLanes);
#pragma GCC unroll 8
      for (int row = 0; row < kTileRows; ++row)
        sums[row][i] = muladd<kExact>(sums[row][i], weight[row], value);
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < kTileRows; ++row)
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i)
      store(job.sums + row * job.row_floats + i * kLanes, sums[row][i]);
}

template <bool kExact, bool kStrided>
void dense_tile_of(uint32_t vectors, const DenseJob &job) {
  switch (vectors) {
    case 1: return dense_tile<1, kExact, kStrided>(job);
    case 2: return dense_tile<2, kExact, kStrided>(job);
    case 3: return dense_tile<3, kExact, kStrided>(job);
    case 4: return dense_tile<4, kExact, kStrided>(job);
    case 5: return dense_tile<5, kExact, kStrided>(job);
    default: return dense_tile<6, kExact, kStrided>(job);
  }
}

// All of a panel's vectors by the rows of one place.
template <bool kExact>
void dense_block(const ConvLayer &layer, const BlockPlace &place) {
  const ConvPlan &plan = layer.plan;
  const ConvBlock block = plan.block(place.block);
  const uint32_t vectors = plan.vectors();
  const size_t padded_rows = size_t{layer.num_tiles()} * kTileRows;
  DenseJob job{};
  job.offsets = layer.offsets.data() + block.first_tap;
  job.taps = block.num_taps;
  job.row_floats = size_t{vectors} * kLanes;
  job.first = place.block == 0;
  const size_t layer_row = size_t{place.group} * plan.geometry.rows + place.row;
  for (uint32_t row = 0; row < place.rows; row += kTileRows) {
    const size_t tile = (place.row + row) / kTileRows;
    job.weights = layer.values.data() + place.group * plan.geometry.taps() * padded_rows +
                  block.first_tap * padded_rows + tile * kTileRows * block.num_taps;
    uint32_t vector = 0;
    while (vector < vectors) {
      const uint32_t left = vectors - vector;
      const uint32_t count = left < kTileVectors ? left : kTileVectors;
      job.panel = place.panel + size_t{vector} * kLanes;
      job.sums = place.sums + row * job.row_floats + size_t{vector} * kLanes;
      dense_tile_of<kExact, false>(count, job);
      vector += count;
    }
    if (place.end != nullptr) place.finish(layer_row, row, kTileRows, vectors);
  }
}

void dense_conv_run(const PreparedLayer *prepared, const Team &team, const float *input,
                    float *output, void *scratch) {
  const ConvLayer &layer = *reinterpret_cast<const ConvLayer *>(prepared);
  const auto function =
      layer.exact && kTwoRoundings ? dense_block<kTwoRoundings> : dense_block<false>;
  run_panels(layer, team, input, output, scratch,
             [&](const BlockPlace &place) { function(layer, place); });
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
