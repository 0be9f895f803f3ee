#include "core/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sigdca {

#if defined(__x86_64__)
namespace {

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf) {
  Registers r;
  __get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

// The register states that the operating system saves; by its bytes, as old assemblers lack it.
uint64_t saved_states() {
  uint32_t low = 0, high = 0;
  __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

bool has(uint64_t word, uint64_t bits) { return (word & bits) == bits; }

constexpr uint64_t bit(int number) { return uint64_t{1} << number; }

// XCR0's: SSE and AVX; with these, AVX-512's three; with these, the tiles' two.
constexpr uint64_t kAvxState = 0x06, kAvx512State = 0xe6, kAmxState = 0x600e6;

constexpr uint32_t kAmd = 0x68747541;  // "Auth", of AuthenticAMD

}  // namespace

CpuFeatures detect_cpu() {
  CpuFeatures cpu{};
  const Registers one = cpuid(1), seven = cpuid(7);
  cpu.amd = cpuid(0).ebx == kAmd;
  cpu.sse42 = has(one.ecx, bit(20) | bit(23));  // SSE4.2, POPCNT
  const bool knows_states = has(one.ecx, bit(27) | bit(28));  // OSXSAVE, AVX
  const uint64_t states = knows_states ? saved_states() : 0;
  if (!cpu.sse42 || !has(states, kAvxState)) return cpu;
  cpu.avx2_fma = has(one.ecx, bit(12)) && has(seven.ebx, bit(3) | bit(5) | bit(8));  // BMI, BMI2
  if (!cpu.avx2_fma || !has(states, kAvx512State)) return cpu;
  cpu.avx512 = has(seven.ebx, bit(16) | bit(17) | bit(30) | bit(31));  // F, DQ, BW, VL
  cpu.avx512_vnni = cpu.avx512 && has(seven.ecx, bit(11));
  cpu.avx512_vbmi = cpu.avx512 && has(seven.ecx, bit(1));
  cpu.amx = cpu.avx512_vnni && cpu.avx512_vbmi && has(states, kAmxState) &&
            has(seven.edx, bit(22) | bit(24) | bit(25));  // BF16, TILE, INT8
  return cpu;
}

bool allow_amx() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

#else

CpuFeatures detect_cpu() {
  CpuFeatures cpu{};
#if defined(__aarch64__)
  cpu.neon = true;  // a part of the base architecture
#endif
  return cpu;
}

bool allow_amx() { return false; }

#endif

}  // namespace sigdca
