// What the fully connected kernels of one instruction set share. Include its vec_<isa>.h before,
// and define
//   uint32_t list_lanes(Vec value, uint32_t first, uint32_t *to)
// which writes first + lane for each lane that is not 0 (up to kLanes numbers, whatever behind
// them), and returns how many.
#pragma once

#include "kernels/simd/fc_layers.h"
#include "kernels/simd/tables.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// `count` outputs' epilogue in place; scale and shift are theirs, or null.
SIGDCA_INLINE Vec finish(const fc::Layer &layer, Vec sum, Vec scale, Vec shift) {
  if (layer.epilogue.scale != nullptr) sum = mul(sum, scale);
  if (layer.epilogue.shift != nullptr) sum = add(sum, shift);
  return min(set1(layer.epilogue.high), max(set1(layer.epilogue.low), sum));
}

static inline void finish_rows(const fc::Layer &layer, size_t first, size_t count, float *values) {
  const float *scale = layer.epilogue.scale, *shift = layer.epilogue.shift;
  scale = scale == nullptr ? nullptr : scale + first;
  shift = shift == nullptr ? nullptr : shift + first;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    store(values + i, finish(layer, load(values + i), scale == nullptr ? zero() : load(scale + i),
                             shift == nullptr ? zero() : load(shift + i)));
  if (const size_t rest = count - i; rest != 0)
    store_part(values + i,
               finish(layer, load_part(values + i, rest),
                      scale == nullptr ? zero() : load_part(scale + i, rest),
                      shift == nullptr ? zero() : load_part(shift + i, rest)),
               rest);
}

// Lists the inputs that are not 0, in order; up to 16 numbers behind them may be written.
static inline size_t list_nonzero(const float *input, uint32_t cols, uint32_t *list) {
  size_t count = 0;
  uint32_t col = 0;
  for (; col + kLanes <= cols; col += kLanes)
    count += list_lanes(load(input + col), col, list + count);
  if (col < cols) count += list_lanes(load_part(input + col, cols - col), col, list + count);
  return count;
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
