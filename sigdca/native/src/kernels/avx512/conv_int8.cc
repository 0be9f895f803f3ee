// Convolution with 8-bit numbers on AVX-512 without VNNI.
#include "kernels/simd/conv_int8_avx512.h"

#include "kernels/simd/conv_int8_pack.h"
#include "kernels/simd/conv_int8_tile.h"
#include "kernels/simd/conv_int8_winograd_x86.h"

namespace sigdca::avx512 {
namespace {

const Int8Isa kIsa = {kBlock, 4, false, 0, 0.15, 0.6, 0.0066, range, pack, compute};

double cost_ns(const LayerRequest &request, const ConvShape &shape, const Weights &weights) {
  return int8_cost_ns(kIsa, request, shape, weights);
}

sigdca_status prepare(const Context &context, const LayerRequest &, const ConvShape &shape,
                      const Weights &weights, const Epilogue &epilogue, PreparedLayer **layer) {
  return int8_prepare(kIsa, context, shape, weights, epilogue, layer);
}

constexpr Int8WinogradIsa kWinogradIsa = {
    {kBlock, 4, false, 0, 0.15, 1.6, 0.0098, range, pack, nullptr}, transform_inputs,
    compute_tiles};

double winograd_cost_ns(const LayerRequest &request, const ConvShape &shape, const Weights &) {
  return int8_winograd_cost_ns(kWinogradIsa, request, shape);
}

sigdca_status prepare_winograd(const Context &context, const LayerRequest &,
                               const ConvShape &shape, const Weights &weights,
                               const Epilogue &epilogue, PreparedLayer **layer) {
  return int8_winograd_prepare(kWinogradIsa, context, shape, weights, epilogue, layer);
}

}  // namespace

extern const ConvKernel int8_conv, int8_winograd_conv;
const ConvKernel int8_conv = {"int8", cost_ns, prepare, int8_release, int8_weight_bytes,
                       int8_scratch_bytes, int8_run};
const ConvKernel int8_winograd_conv = {"int8-winograd",
                                       winograd_cost_ns,
                                       prepare_winograd,
                                       int8_winograd_release,
                                       int8_winograd_weight_bytes,
                                       int8_winograd_scratch_bytes,
                                       int8_winograd_run};

}  // namespace sigdca::avx512
