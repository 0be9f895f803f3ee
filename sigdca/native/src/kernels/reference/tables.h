// The plain kernels' parts, for their table.
#pragma once

#include "kernels/kernels.h"

namespace sigdca::reference {

extern const ConvKernel kConv;
extern const FcKernel kFc;

void max_pool(const PoolShape &shape, const float *input, float *output, size_t begin, size_t end);
void avg_pool(const PoolShape &shape, const float *input, float *output, size_t begin, size_t end);
void global_avg_pool(const Shape &shape, const float *input, float *output, size_t begin,
                     size_t end);

void softmax(const Shape &shape, const float *input, float *output, size_t begin, size_t end);

}  // namespace sigdca::reference
