// Fully connected, one image at a time: skips the columns of zero inputs if they are many.
#pragma once

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

static inline uint32_t count_nonzero(const float *input, uint32_t cols) {
  uint32_t count = 0, col = 0;
  for (; col + kLanes <= cols; col += kLanes)
    count += static_cast<uint32_t>(__builtin_popcount(nonzero(load(input + col))));
  if (col < cols)
    count += static_cast<uint32_t>(
        __builtin_popcount(nonzero(load_part(input + col, cols - col))));
  return count;
}

static void run_choice(const PreparedLayer *prepared, const Team &team, const float *input,
                       size_t n, float *output, void *scratch) {
  const fc::ChoiceLayer &layer = *reinterpret_cast<const fc::ChoiceLayer *>(prepared);
  void *const of_skip =
      static_cast<uint8_t *>(scratch) + layer.even_kernel->scratch_bytes(layer.even, team.size);
  for (size_t image = 0; image < n; ++image) {
    const float *from = input + image * layer.cols;
    float *to = output + image * layer.rows;
    if (count_nonzero(from, layer.cols) > layer.most_nonzero)
      layer.even_kernel->run(layer.even, team, from, 1, to, scratch);
    else
      layer.skip_kernel->run(layer.skip, team, from, 1, to, of_skip);
  }
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
