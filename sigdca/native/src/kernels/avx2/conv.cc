// Float32 convolution on AVX2.
#include "kernels/simd/vec_avx2.h"

#include "kernels/simd/conv_depthwise.h"
#include "kernels/simd/conv_panel.h"
#include "kernels/simd/conv_winograd.h"

namespace sigdca::avx2 {
namespace {

constexpr ConvTuning kSparseTuning = {8, kCodedSizes, 1, 1, kCodeFloats, 32768, 0.129, 0.27, 90, 7, 0.35, 0.5, 4.5, 0.6};
constexpr ConvTuning kDenseTuning = {8, kDenseSizes, 6, 2, kCodeFloats, 32768, 0.14, 0, 90, 0, 2.4, 1, 7, 0};
constexpr WinogradTuning kWinogradTuning = {8, 2, 6, 0.155, 0.075, 80, 80};
constexpr DepthwiseTuning kDepthwiseTuning = {8, 0.25, 0.4, 2, 8};

}  // namespace
}  // namespace sigdca::avx2

#include "kernels/simd/conv_kernels.h"

namespace sigdca::avx2 {

extern const ConvKernel int8_conv, int8_winograd_conv;
const ConvKernel *const conv_kernels[] = {&kSparseConv, &kDenseConv, &kWinogradConv, &kDepthwiseConv,
                                          &int8_conv, &int8_winograd_conv, nullptr};

}  // namespace sigdca::avx2
