// AMX's table: the tiles are for layers with weights, all else is AVX-512's.
#include "kernels/reference/tables.h"
#include "kernels/simd/vec_avx512.h"

#include "kernels/simd/tables.h"

namespace sigdca {
namespace amx {

extern const ConvKernel *const conv_kernels[];
extern const FcKernel *const fc_kernels[];

}  // namespace amx

const Kernels *amx_kernels() {
  static constexpr Kernels kTable = {
      "amx",
      amx::conv_kernels,
      amx::fc_kernels,
      avx512::from_pixels,
      avx512::max_pool,
      avx512::avg_pool,
      avx512::global_avg_pool,
      avx512::clamp,
      avx512::add,
      avx512::scale_shift,
      avx512::lrn,
      reference::softmax,
  };
  return &kTable;
}

}  // namespace sigdca
