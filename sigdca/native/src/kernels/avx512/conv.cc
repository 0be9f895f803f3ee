// Float32 convolution on AVX-512.
#include "kernels/simd/vec_avx512.h"

#include "kernels/simd/conv_depthwise.h"
#include "kernels/simd/conv_panel.h"
#include "kernels/simd/conv_winograd.h"

namespace sigdca::avx512 {
namespace {

constexpr ConvTuning kSparseTuning = {16, kCodedSizes, 1, 1, kCodeFloats, 32768, 0.18, 0.3, 90, 5, 0.3, 0.55, 5, 0.8};
constexpr ConvTuning kDenseTuning = {16, kDenseSizes, 6, 4, kCodeFloats, 32768, 0.127, 0, 90, 0, 2.5, 0.85, 4.5, 0.5};
constexpr WinogradTuning kWinogradTuning = {16, 4, 6, 0.15, 0.035, 120, 120};
constexpr DepthwiseTuning kDepthwiseTuning = {16, 0.3, 0.5, 3, 8};

}  // namespace
}  // namespace sigdca::avx512

#include "kernels/simd/conv_kernels.h"

namespace sigdca::avx512 {

extern const ConvKernel int8_conv, int8_winograd_conv, int8_vnni_conv;
const ConvKernel *const conv_kernels[] = {&kSparseConv, &kDenseConv, &kWinogradConv, &kDepthwiseConv,
                                          &int8_conv, &int8_winograd_conv, &int8_vnni_conv, nullptr};

}  // namespace sigdca::avx512
