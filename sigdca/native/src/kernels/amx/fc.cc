// AMX's fully connected kernels: AVX-512's, as one image leaves the tiles idle, and one for batches.
#include "kernels/kernels.h"

namespace sigdca {

namespace avx512 {
extern const FcKernel fc_columns, fc_gather, fc_in_registers, fc_choice, fc_batch, fc_dense,
    fc_int8_vnni, fc_int8_sparse, fc_int8_choice;
}

namespace amx {

extern const FcKernel fc_int8_batch;
extern const FcKernel *const fc_kernels[];
const FcKernel *const fc_kernels[] = {
    &avx512::fc_columns,      &avx512::fc_gather,       &avx512::fc_in_registers,
    &avx512::fc_choice,       &avx512::fc_batch,        &avx512::fc_dense,
    &avx512::fc_int8_vnni,    &avx512::fc_int8_sparse,  &avx512::fc_int8_choice,
    &fc_int8_batch,           nullptr,
};

}  // namespace amx
}  // namespace sigdca
