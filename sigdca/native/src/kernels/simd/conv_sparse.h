// Sparse convolution: for each output channel its weights that are not zero, straight from their
// codes, each times a run of vectors. Include a vec_<isa>.h and conv_panel.h before.
#pragma once

#include "kernels/simd/conv_panel.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

// The lists of some output channels for one block.
struct SparseJob {
  const BlockPlace *place;
  const uint32_t *starts;    // one more than rows
  const uint16_t *offsets;
  const void *codes;         // or values
  const float *codebook;
  uint32_t first_row;        // in the layer
};

using SparseFunction = void (*)(const SparseJob &job);

SIGDCA_INLINE Vec weight_at(const float *codebook, const uint8_t *code) {
#if defined(__SSE4_2__) && !defined(__AVX__)
  // Two equal floats as one double: its repetition is a part of the load, that of a float is not.
  return _mm_castpd_ps(_mm_loaddup_pd(reinterpret_cast<const double *>(codebook) + *code));
#else
  return broadcast(codebook + *code);
#endif
}
SIGDCA_INLINE Vec weight_at(const float *, const float *value) { return broadcast(value); }

template <int kVectors, bool kExact>
SIGDCA_INLINE void add_tap(Vec *sums, const float *panel, uint32_t offset, Vec weight) {
  const float *run =
      reinterpret_cast<const float *>(reinterpret_cast<const char *>(panel) + offset);
  asm("" : "+r"(run));  // one plain address: x86 splits a multiply-add with an index in two
#pragma GCC unroll 32
  for (int i = 0; i < kVectors; ++i)
    sums[i] = muladd<kExact>(sums[i], weight, load(run + i * kLanes));
}

// kJoined output channels at a time: with few vectors a channel, their sums hide each other's
// latency.
template <int kVectors, int kJoined, bool kExact, class Code>
SIGDCA_INLINE void sparse_rows(const SparseJob &job, uint32_t row) {
  const Code *codes = static_cast<const Code *>(job.codes);
  const BlockPlace &place = *job.place;
  const bool first = place.block == 0;
  float *memory = place.sums + size_t{row} * kVectors * kLanes;
  Vec sums[kJoined][kVectors];
#pragma GCC unroll 8
  for (int j = 0; j < kJoined; ++j)
#pragma GCC unroll 32
    for (int i = 0; i < kVectors; ++i)
      sums[j][i] = first ? zero() : load(memory + (j * kVectors + i) * kLanes);
  uint32_t at[kJoined], shortest = ~0u;
#pragma GCC unroll 8
  for (int j = 0; j < kJoined; ++j) {
    at[j] = job.starts[row + j];
    const uint32_t count = job.starts[row + j + 1] - at[j];
    if (count < shortest) shortest = count;
  }
  if (kJoined > 1) {
    for (uint32_t i = 0; i < shortest; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < kJoined; ++j)
        add_tap<kVectors, kExact>(sums[j], place.panel, job.offsets[at[j] + i],
                                  weight_at(job.codebook, codes + at[j] + i));
  } else {
    shortest = 0;
  }
#pragma GCC unroll 8
  for (int j = 0; j < kJoined; ++j) {
    const uint16_t *offset = job.offsets + at[j] + shortest;
    const uint16_t *end = job.offsets + job.starts[row + j + 1];
    const Code *code = codes + at[j] + shortest;
    for (; offset != end; ++offset, ++code)
      add_tap<kVectors, kExact>(sums[j], place.panel, *offset, weight_at(job.codebook, code));
  }
  if (kJoined == 1 && place.end != nullptr) {  // many vectors: out of their registers
    const RowFinish finish(*place.end, job.first_row + row);
#pragma GCC unroll 32
    for (int i = 0; i < kVectors; ++i) sums[0][i] = finish(sums[0][i]);
    float *output = place.output + size_t{row} * place.plane;
    if (store_direct<kVectors>(*place.direct, sums[0], output)) return;
#pragma GCC unroll 32
    for (int i = 0; i < kVectors; ++i) store(memory + i * kLanes, sums[0][i]);
    return place.write(row, kVectors);
  }
#pragma GCC unroll 8
  for (int j = 0; j < kJoined; ++j)
#pragma GCC unroll 32
    for (int i = 0; i < kVectors; ++i) store(memory + (j * kVectors + i) * kLanes, sums[j][i]);
  if (place.end != nullptr) place.finish(job.first_row, row, kJoined, kVectors);
}

template <int kVectors, bool kExact, class Code>
void sparse_block(const SparseJob &job) {
  constexpr int kJoined = kVectors * 4 <= kRegisters / 2 ? 4 : kVectors * 2 <= kRegisters / 2 ? 2 : 1;
  uint32_t row = 0;
  for (; row + kJoined <= job.place->rows; row += kJoined)
    sparse_rows<kVectors, kJoined, kExact, Code>(job, row);
  if (kJoined == 1) return;
  for (; row < job.place->rows; ++row) sparse_rows<kVectors, 1, kExact, Code>(job, row);
}

template <bool kExact>
SparseFunction sparse_function(const ConvLayer &layer) {
  const uint32_t vectors = layer.plan.vectors();
  if (layer.codes.size() != 0) {
    switch (vectors) {
      case 1: return sparse_block<1, kExact, uint8_t>;
      case 2: return sparse_block<2, kExact, uint8_t>;
      case 4: return sparse_block<4, kExact, uint8_t>;
      case 6: return sparse_block<6, kExact, uint8_t>;
      case 7: return sparse_block<7, kExact, uint8_t>;
      case 8: return sparse_block<8, kExact, uint8_t>;
      case 10: return sparse_block<10, kExact, uint8_t>;
      case 12: return sparse_block<12, kExact, uint8_t>;
      case 13: return sparse_block<13, kExact, uint8_t>;
      default: return sparse_block<14, kExact, uint8_t>;
    }
  }
  switch (vectors) {
    case 1: return sparse_block<1, kExact, float>;
    case 4: return sparse_block<4, kExact, float>;
    case 7: return sparse_block<7, kExact, float>;
    default: return sparse_block<14, kExact, float>;
  }
}

void sparse_conv_run(const PreparedLayer *prepared, const Team &team, const float *input,
                     float *output, void *scratch) {
  const ConvLayer &layer = *reinterpret_cast<const ConvLayer *>(prepared);
  const uint32_t rows = layer.plan.geometry.rows;
  const bool exact = layer.exact && kTwoRoundings;
  const SparseFunction function = exact ? sparse_function<kTwoRoundings>(layer)
                                        : sparse_function<false>(layer);
  SparseJob job{};
  job.offsets = layer.offsets.data();
  job.codes = layer.values.data();
  if (layer.codes.size() != 0) job.codes = layer.codes.data();
  job.codebook = layer.codebook.data();
  run_panels(layer, team, input, output, scratch, [&](const BlockPlace &place) {
    SparseJob part = job;
    part.place = &place;
    part.starts = layer.starts.data() +
                  (size_t{place.group} * layer.plan.num_blocks + place.block) * rows + place.row;
    part.first_row = place.group * rows + place.row;
    function(part);
  });
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
