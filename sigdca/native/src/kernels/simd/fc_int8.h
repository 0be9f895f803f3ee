// Fully connected with 8-bit numbers. The instruction set brings Ints (kLanes of 32 bits), Quad and
// their operations; see <isa>/fc.cc. Sums are whole numbers: the same on all instruction sets.
#pragma once

#include "kernels/simd/fc_quantise.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// The sums of kVectors vectors of rows.
template <bool kSigned, int kVectors>
static void int8_panel(const int8_t *weights, const int8_t *input, const uint32_t *quads,
                       size_t count, Ints *sums) {
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
  for (int v = 0; v < kVectors; ++v) sums[v] = sum[v];
}

template <bool kSigned>
static void int8_image(const fc::Int8Layer &layer, size_t begin, size_t end, const int8_t *input,
                       const uint32_t *quads, size_t count, float scale, float *output) {
  constexpr decltype(&int8_panel<kSigned, 1>) kPanels[fc::kInt8Vectors] = {
      int8_panel<kSigned, 1>, int8_panel<kSigned, 2>, int8_panel<kSigned, 3>,
      int8_panel<kSigned, 4>, int8_panel<kSigned, 5>, int8_panel<kSigned, 6>,
      int8_panel<kSigned, 7>, int8_panel<kSigned, 8>,
  };
  Ints sums[fc::kInt8Vectors];
  for (size_t panel = begin; panel < end; ++panel) {
    const uint32_t vector = layer.first_vector(static_cast<uint32_t>(panel));
    const uint32_t vectors = layer.first_vector(static_cast<uint32_t>(panel) + 1) - vector;
    const size_t first = size_t{vector} * kLanes;
    kPanels[vectors - 1](layer.weights.data() + first * layer.num_quads * 4, input, quads, count,
                         sums);
    for (uint32_t v = 0; v < vectors; ++v) {
      const size_t row = first + size_t{v} * kLanes, left = layer.rows - row;
      Ints sum = sums[v];
      if (kSigned && kOffsetInputs) sum = sub_int(sum, load_int(layer.row_offset.data() + row));
      const Vec factor = mul(set1(scale), load(layer.row_scale.data() + row));
      const Vec value = mul(to_float(sum), factor);
      if (left >= static_cast<size_t>(kLanes))
        store(output + row, value);
      else
        store_part(output + row, value, left);
    }
    const size_t stop = first + size_t{vectors} * kLanes;
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
