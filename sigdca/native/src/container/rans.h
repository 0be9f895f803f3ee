// rANS streams (SPEC.md, "rANS stream"); mirrors sigdca/codec/rans.py.
#pragma once

#include "core/context.h"

namespace sigdca {

constexpr uint32_t kScaleBits = 12, kScale = 1u << kScaleBits, kRansLanes = 4;
constexpr uint32_t kRansLow = 1u << 16, kRansAlphabet = 256;
constexpr size_t kRansStateBytes = 4 * kRansLanes;

// What each of the 4096 slots stands for.
class RansTable {
 public:
  // frequencies: of sum 4096, each of `alphabet` <= 256 symbols.
  sigdca_status open(const Context &context, const int32_t *frequencies, uint32_t alphabet);

  // Decodes the whole of a stream.
  sigdca_status decode(const Context &context, const uint8_t *stream, size_t bytes, size_t count,
                       const char *where, uint8_t *symbols) const;

 private:
  Array<uint32_t> slots_;  // symbol, frequency - 1 << 8, slot - start << 20
};

}  // namespace sigdca
