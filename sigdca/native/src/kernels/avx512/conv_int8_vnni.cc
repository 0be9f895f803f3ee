// Convolution with 8-bit numbers on AVX-512 with VNNI.
#include "kernels/simd/conv_int8_avx512.h"

#include "kernels/simd/conv_int8_pack.h"
#include "kernels/simd/conv_int8_tile.h"

namespace sigdca::avx512 {
namespace {

const Int8Isa kIsa = {kBlock, 4, false, 0, 0.15, 0.12, 0.0023, range, pack, compute};

double cost_ns(const LayerRequest &request, const ConvShape &shape, const Weights &weights) {
  if (!request.cpu.avx512_vnni) return -1;
  return int8_cost_ns(kIsa, request, shape, weights);
}

sigdca_status prepare(const Context &context, const LayerRequest &, const ConvShape &shape,
                      const Weights &weights, const Epilogue &epilogue, PreparedLayer **layer) {
  return int8_prepare(kIsa, context, shape, weights, epilogue, layer);
}

}  // namespace

extern const ConvKernel int8_vnni_conv;
const ConvKernel int8_vnni_conv = {"int8-vnni", cost_ns, prepare, int8_release, int8_weight_bytes,
                       int8_scratch_bytes, int8_run};

}  // namespace sigdca::avx512
