// Convolution with 8-bit numbers on NEON.
#include "kernels/simd/conv_int8_neon.h"

#include "kernels/simd/conv_int8_pack.h"
#include "kernels/simd/conv_int8_tile.h"

namespace sigdca::neon {
namespace {

const Int8Isa kIsa = {kBlock, 4, true, 0x80, 1, 1, 0.08, range, pack, compute};

double cost_ns(const LayerRequest &request, const ConvShape &shape, const Weights &weights) {
  return int8_cost_ns(kIsa, request, shape, weights);
}

sigdca_status prepare(const Context &context, const LayerRequest &, const ConvShape &shape,
                      const Weights &weights, const Epilogue &epilogue, PreparedLayer **layer) {
  return int8_prepare(kIsa, context, shape, weights, epilogue, layer);
}

}  // namespace

extern const ConvKernel int8_conv;
const ConvKernel int8_conv = {"int8", cost_ns, prepare, int8_release, int8_weight_bytes,
                       int8_scratch_bytes, int8_run};

}  // namespace sigdca::neon
