// Float32 convolution on SSE4.2.
#include "kernels/simd/vec_sse42.h"

#include "kernels/simd/conv_depthwise.h"
#include "kernels/simd/conv_panel.h"
#include "kernels/simd/conv_winograd.h"

namespace sigdca::sse42 {
namespace {

constexpr ConvTuning kSparseTuning = {4, kCodedSizes, 1, 1, kCodeFloats, 24576, 0.156, 0.16, 90, 7, 0.4, 0.45, 2.8, 0.4};
constexpr ConvTuning kDenseTuning = {4, kDenseSizes, 6, 2, kCodeFloats, 24576, 0.166, 0, 90, 0, 2.4, 1.1, 3.3, 0};
constexpr WinogradTuning kWinogradTuning = {4, 2, 6, 0.175, 0.08, 60, 60};
constexpr DepthwiseTuning kDepthwiseTuning = {4, 0.3, 0.3, 1.5, 8};

}  // namespace
}  // namespace sigdca::sse42

#include "kernels/simd/conv_kernels.h"

namespace sigdca::sse42 {

extern const ConvKernel int8_conv, int8_winograd_conv;
const ConvKernel *const conv_kernels[] = {&kSparseConv, &kDenseConv, &kWinogradConv, &kDepthwiseConv,
                                          &int8_conv, &int8_winograd_conv, nullptr};

}  // namespace sigdca::sse42
