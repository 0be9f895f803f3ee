// Round to nearest, with subnormal numbers: what every result is defined by. A host program may
// have set its threads otherwise (torch.set_flush_denormal, a library built with -ffast-math).
#pragma once

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace sigdca {

// While it lives, this thread computes in the standard mode.
class StandardFloatMode {
 public:
#if defined(__x86_64__)
  StandardFloatMode() : before_(_mm_getcsr()) {
    if ((before_ & ~kFlags) != kStandard) _mm_setcsr(kStandard);
  }
  ~StandardFloatMode() {
    if ((before_ & ~kFlags) != kStandard) _mm_setcsr(before_);
  }

 private:
  static constexpr uint32_t kFlags = 0x3f, kStandard = 0x1f80;
  uint32_t before_;
#elif defined(__aarch64__)
  StandardFloatMode() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    if (before_ != 0) set(0);
  }
  ~StandardFloatMode() {
    if (before_ != 0) set(before_);
  }

 private:
  static void set(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
  uint64_t before_;
#endif
};

}  // namespace sigdca
