// Float32 convolution on NEON.
#include "kernels/simd/vec_neon.h"

#include "kernels/simd/conv_depthwise.h"
#include "kernels/simd/conv_panel.h"
#include "kernels/simd/conv_winograd.h"

namespace sigdca::neon {
namespace {

constexpr ConvTuning kSparseTuning = {4, kCodedSizes, 1, 1, kCodeFloats, 24576, 0.6, 1, 400, 12, 1, 1, 5, 1.5};
constexpr ConvTuning kDenseTuning = {4, kDenseSizes, 6, 4, kCodeFloats, 24576, 0.5, 0, 400, 0, 5, 2, 6, 1};
constexpr WinogradTuning kWinogradTuning = {4, 4, 6, 0.55, 0.1, 150, 150};
constexpr DepthwiseTuning kDepthwiseTuning = {4, 0.8, 1, 6, 30};

}  // namespace
}  // namespace sigdca::neon

#include "kernels/simd/conv_kernels.h"

namespace sigdca::neon {

extern const ConvKernel int8_conv;
const ConvKernel *const conv_kernels[] = {&kSparseConv, &kDenseConv, &kWinogradConv, &kDepthwiseConv,
                                          &int8_conv, nullptr};

}  // namespace sigdca::neon
