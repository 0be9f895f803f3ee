// Float32 convolution on AVX2.
#include "kernels/simd/vec_avx2.h"

#include "kernels/simd/conv_depthwise.h"
#include "kernels/simd/conv_panel.h"
#include "kernels/simd/conv_winograd.h"

namespace sigdca::avx2 {
namespace {

constexpr ConvTuning kSparseTuning = {8, kCodedSizes, 1, 1, 32768, 0.17, 0.3, 4, 0.3, 0.6, 0.6};
constexpr ConvTuning kDenseTuning = {8, kDenseSizes, 6, 2, 32768, 0.15, 0, 4, 0.3, 0.6, 0.6};
constexpr WinogradTuning kWinogradTuning = {8, 2, 6, 0.15, 40, 40};
constexpr DepthwiseTuning kDepthwiseTuning = {8, 0.25, 0.4, 2};

}  // namespace
}  // namespace sigdca::avx2

#include "kernels/simd/conv_kernels.h"

namespace sigdca::avx2 {

extern const ConvKernel int8_conv, int8_winograd_conv;
const ConvKernel *const conv_kernels[] = {&kSparseConv, &kDenseConv, &kWinogradConv, &kDepthwiseConv, &int8_conv,
                                         &int8_winograd_conv, nullptr};

}  // namespace sigdca::avx2
