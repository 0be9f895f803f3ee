// Values as they lie in a container: float32, finite, never -0.0.
#pragma once

#include "container/model.h"

namespace sigdca {

// Whether a float32 of these bits is none that a weight may be.
inline bool is_wrong_value(uint32_t bits) {
  return (bits & 0x7F800000u) == 0x7F800000u || bits == 0x80000000u;
}

// Whether `count` float32 at `data` are what weights may be. `where` opens the message.
sigdca_status check_values(const Context &context, const uint8_t *data, size_t count,
                           const char *where);

// Reads a codebook: values that are all distinct, and none of them 0 if there are gaps.
sigdca_status read_codebook(const Context &context, const Section &section, bool has_gaps,
                            const char *where, Array<float> *codebook);

}  // namespace sigdca
