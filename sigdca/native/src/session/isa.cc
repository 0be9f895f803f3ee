#include "session/isa.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"

namespace sigdca {
namespace {

const char *const kNames[] = {"amx", "avx512", "avx2", "sse4.2", "neon", "reference"};
constexpr uint32_t kNumNames = sizeof(kNames) / sizeof(kNames[0]);

// Null where the build or the processor lacks it. SIGDCA_HAVE_<ISA> is the build's to define.
const Kernels *kernels_of([[maybe_unused]] const CpuFeatures &cpu, uint32_t number) {
  switch (number) {
#ifdef SIGDCA_HAVE_AMX
    case 0: return cpu.amx ? amx_kernels() : nullptr;
#endif
#ifdef SIGDCA_HAVE_AVX512
    case 1: return cpu.avx512 ? avx512_kernels() : nullptr;
#endif
#ifdef SIGDCA_HAVE_AVX2
    case 2: return cpu.avx2_fma ? avx2_kernels() : nullptr;
#endif
#ifdef SIGDCA_HAVE_SSE42
    case 3: return cpu.sse42 ? sse42_kernels() : nullptr;
#endif
#ifdef SIGDCA_HAVE_NEON
    case 4: return cpu.neon ? neon_kernels() : nullptr;
#endif
    case 5: return &kReferenceKernels;
    default: return nullptr;
  }
}

sigdca_status unavailable(const Context &context, const CpuFeatures &cpu, sigdca_status status,
                          const char *source, const char *name, const char *what) {
  char list[96] = "";
  for (uint32_t index = 0;; ++index) {
    const Kernels *kernels = available_kernels(cpu, index);
    if (kernels == nullptr) break;
    const size_t used = strlen(list);
    snprintf(list + used, sizeof(list) - used, "%s%s", index == 0 ? "" : ", ", kernels->isa);
  }
  return context.fail(status, "%s: '%.40s' %s; there are %s", source, name, what, list);
}

}  // namespace

const Kernels *available_kernels(const CpuFeatures &cpu, uint32_t index) {
  for (uint32_t number = 0; number < kNumNames; ++number) {
    const Kernels *kernels = kernels_of(cpu, number);
    if (kernels != nullptr && index-- == 0) return kernels;
  }
  return nullptr;
}

sigdca_status choose_kernels(const Context &context, const CpuFeatures &cpu, const char *name,
                             sigdca_profile profile, const Kernels **kernels) {
  const char *source = "isa";
  if (name == nullptr) {
    name = getenv("SIGDCA_ISA");
    source = "SIGDCA_ISA";
  }
  if (name == nullptr || name[0] == 0) {
    // No tile can multiply as the exact profile wants it, and having them makes every signal's
    // frame larger.
    uint32_t index = 0;
    *kernels = available_kernels(cpu, index);
    const bool tiles = strcmp((*kernels)->isa, "amx") == 0;
    if (tiles && (profile == SIGDCA_PROFILE_EXACT || !allow_amx()))
      *kernels = available_kernels(cpu, ++index);
    return SIGDCA_OK;
  }
  for (uint32_t number = 0; number < kNumNames; ++number) {
    if (strcmp(name, kNames[number]) != 0) continue;
    *kernels = kernels_of(cpu, number);
    if (*kernels == nullptr)
      return unavailable(context, cpu, SIGDCA_UNSUPPORTED, source, name,
                         "is not in this build or processor");
    if (number == 0 && !allow_amx())
      return unavailable(context, cpu, SIGDCA_UNSUPPORTED, source, name,
                         "is refused by the operating system");
    return SIGDCA_OK;
  }
  return unavailable(context, cpu, SIGDCA_INVALID_ARGUMENT, source, name,
                     "is no instruction set");
}

}  // namespace sigdca
