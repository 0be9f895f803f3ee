// Fully connected with 8-bit numbers. The instruction set brings Ints (kLanes of 32 bits), Quad and
// their operations; see <isa>/fc.cc. Sums are whole numbers: the same on all instruction sets.
#pragma once

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// Quantises an input to -127..127; returns the scale, and whether any is negative.
static inline float quantise(const float *input, uint32_t cols, uint32_t quads, int8_t *to,
                             bool *is_signed) {
  Vec most = zero(), least = zero();
  uint32_t col = 0;
  for (; col + kLanes <= cols; col += kLanes) {
    const Vec x = load(input + col);
    most = max(x, most), least = min(x, least);
  }
  if (col < cols) {
    const Vec x = load_part(input + col, cols - col);
    most = max(x, most), least = min(x, least);
  }
  float highs[kLanes], lows[kLanes], high = 0, low = 0;
  store(highs, most), store(lows, least);
  for (int i = 0; i < kLanes; ++i) {
    high = highs[i] > high ? highs[i] : high;
    low = lows[i] < low ? lows[i] : low;
  }
  *is_signed = low < 0;
  const float size = high > -low ? high : -low;
  if (!(size >= 1e-30f)) {  // too small to matter
    memset(to, 0, size_t{quads} * 4);
    *is_signed = false;
    return 0;
  }
  const Vec factor = set1(127 / size);
  for (col = 0; col + kLanes <= cols; col += kLanes)
    to_int8(mul(load(input + col), factor), to + col);
  if (col < cols) {
    int8_t rest[kLanes];
    to_int8(mul(load_part(input + col, cols - col), factor), rest);
    memcpy(to + col, rest, size_t{quads} * 4 - col);
  }
  return size / 127;
}

template <bool kSigned, int kVectors>
static void int8_panel(const fc::Int8Layer &layer, uint32_t vector, const int8_t *input,
                       const uint32_t *quads, size_t count, float scale, float *output) {
  const size_t first = size_t{vector} * kLanes;
  const int8_t *weights = layer.weights.data() + first * layer.num_quads * 4;
  Ints sum[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) sum[v] = zero_int();
  for (size_t k = 0; k < count; ++k) {
    const Quad<kSigned> quad(input + size_t{quads[k]} * 4);
    const int8_t *from = weights + size_t{quads[k]} * (kVectors * kLanes * 4);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[v] = quad.dot(sum[v], from + v * kLanes * 4);
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    const size_t row = first + static_cast<size_t>(v) * kLanes;
    if (kSigned && kOffsetInputs) sum[v] = sub_int(sum[v], load_int(layer.row_offset.data() + row));
    const Vec factor = mul(set1(scale), load(layer.row_scale.data() + row));
    const Vec value = mul(to_float(sum[v]), factor);
    const size_t rows = layer.rows - row;
    if (rows >= static_cast<size_t>(kLanes))
      store(output + row, value);
    else
      store_part(output + row, value, rows);
  }
}

template <bool kSigned>
static void int8_image(const fc::Int8Layer &layer, size_t begin, size_t end, const int8_t *input,
                       const uint32_t *quads, size_t count, float scale, float *output) {
  constexpr decltype(&int8_panel<kSigned, 1>) kPanels[fc::kInt8Vectors] = {
      int8_panel<kSigned, 1>, int8_panel<kSigned, 2>, int8_panel<kSigned, 3>,
      int8_panel<kSigned, 4>, int8_panel<kSigned, 5>, int8_panel<kSigned, 6>,
      int8_panel<kSigned, 7>, int8_panel<kSigned, 8>,
  };
  for (size_t panel = begin; panel < end; ++panel) {
    const uint32_t vector = layer.first_vector(static_cast<uint32_t>(panel));
    const uint32_t next = layer.first_vector(static_cast<uint32_t>(panel) + 1);
    kPanels[next - vector - 1](layer, vector, input, quads, count, scale, output);
    const size_t first = size_t{vector} * kLanes, stop = size_t{next} * kLanes;
    finish_rows(layer, first, (stop < layer.rows ? stop : layer.rows) - first, output + first);
  }
}

static void run_int8(const PreparedLayer *prepared, const Team &team, const float *input, size_t n,
                     float *output, void *scratch) {
  const fc::Int8Layer &layer = *reinterpret_cast<const fc::Int8Layer *>(prepared);
  const size_t list = fc::list_bytes(layer.num_quads);
  uint8_t *own = static_cast<uint8_t *>(scratch) + team.rank * 2 * list;
  int8_t *numbers = reinterpret_cast<int8_t *>(own);
  uint32_t *quads = reinterpret_cast<uint32_t *>(own + list);
  size_t begin = 0, end = 0;
  team.part(layer.num_panels, 1, &begin, &end);
  for (size_t image = 0; image < n; ++image) {
    bool is_signed = false;
    const float scale = quantise(input + image * layer.cols, layer.cols, layer.num_quads, numbers,
                                 &is_signed);
    float *to = output + image * layer.rows;
    size_t count = 0;
    if (is_signed && kOffsetInputs) {  // zeros are none then
      for (uint32_t quad = 0; quad < layer.num_quads; ++quad) quads[count++] = quad;
    } else {
      // As floats, for the comparison's sake: the bits of four bytes are -0 for no input.
      count = list_nonzero(reinterpret_cast<const float *>(numbers), layer.num_quads, quads);
    }
    if (is_signed)
      int8_image<true>(layer, begin, end, numbers, quads, count, scale, to);
    else
      int8_image<false>(layer, begin, end, numbers, quads, count, scale, to);
  }
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
