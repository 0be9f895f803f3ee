// For this project's own tests: not installed, and no part of the interface.
#pragma once

#include "sigdca.h"

#ifdef __cplusplus
extern "C" {
#endif

// sigdca_session_create, but each layer that the kernel of this name can compute takes it.
SIGDCA_API sigdca_status sigdca_testing_session_create(const sigdca_model *model,
                                                       const sigdca_session_options *options,
                                                       const char *kernel,
                                                       sigdca_session **session,
                                                       sigdca_error *error);

// The kernels that an instruction set of this processor has for convolutions (operator 1) or fully
// connected layers (2), one a call; NULL behind the last.
SIGDCA_API const char *sigdca_testing_kernel_name(const char *isa, uint32_t operator_code,
                                                  uint32_t index);

#ifdef __cplusplus
}
#endif
