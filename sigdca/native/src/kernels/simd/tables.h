// What the files of one instruction set give each other for its table of kernels. Include its
// vec_<isa>.h before.
#pragma once

#include "kernels/kernels.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

extern const ConvKernel *const conv_kernels[];  // <isa>/conv.cc; ended by null
extern const FcKernel *const fc_kernels[];      // <isa>/fc.cc

// elementwise.h
void from_pixels(const uint8_t *pixels, float scale, float *values, size_t begin, size_t end);
void clamp(const float *input, float low, float high, float *output, size_t begin, size_t end);
void add(const float *left, const float *right, float *output, size_t begin, size_t end);
void scale_shift(const Shape &shape, const float *input, const float *scale, const float *shift,
                 float *output, size_t begin, size_t end);
void lrn(const Shape &shape, uint32_t size, double alpha, double beta, double k,
         const float *input, float *output, size_t begin, size_t end);
// max_pool.h, avg_pool.h
void max_pool(const PoolShape &shape, const float *input, float *output, size_t begin, size_t end);
void avg_pool(const PoolShape &shape, const float *input, float *output, size_t begin, size_t end);
void global_avg_pool(const Shape &shape, const float *input, float *output, size_t begin,
                     size_t end);

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
