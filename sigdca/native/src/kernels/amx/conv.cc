// AMX's convolutions, and those of AVX-512 for what they cannot do or are slower at.
#include "kernels/kernels.h"

namespace sigdca {
namespace avx512 {

extern const ConvKernel kSparseConv, kDenseConv, kWinogradConv, kDepthwiseConv, int8_vnni_conv;

}  // namespace avx512

namespace amx {

extern const ConvKernel int8_conv, bf16_conv;
extern const ConvKernel *const conv_kernels[];
const ConvKernel *const conv_kernels[] = {&int8_conv,
                                          &bf16_conv,
                                          &avx512::kSparseConv,
                                          &avx512::kDenseConv,
                                          &avx512::kWinogradConv,
                                          &avx512::kDepthwiseConv,
                                          &avx512::int8_vnni_conv,
                                          nullptr};

}  // namespace amx
}  // namespace sigdca
