// What the processor and its operating system can run.
#pragma once

#include "kernels/kernels.h"

namespace sigdca {

// AMX is only told here; a process must ask for it, see `allow_amx`.
CpuFeatures detect_cpu();

// Asks Linux for the tile registers, for all threads of the process. False: refused.
bool allow_amx();

}  // namespace sigdca
