// Which instruction set a session runs.
#pragma once

#include "kernels/kernels.h"

namespace sigdca {

// Those that this build has and the processor can run, best first; null behind the last.
const Kernels *available_kernels(const CpuFeatures &cpu, uint32_t index);

// name: an instruction set's; null: that of the environment variable SIGDCA_ISA, else the best.
sigdca_status choose_kernels(const Context &context, const CpuFeatures &cpu, const char *name,
                             sigdca_profile profile, const Kernels **kernels);

}  // namespace sigdca
