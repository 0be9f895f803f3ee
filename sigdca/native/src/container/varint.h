// Whole numbers below 2^32 in as few bytes as they need; mirrors sigdca/codec/varint.py.
#pragma once

#include "core/context.h"

namespace sigdca {

// A place in a piece of the container.
struct Bytes {
  const uint8_t *data;
  size_t size;
  size_t at = 0;
};

// Reads the number at `bytes->at` and moves behind it. `where` opens the message.
sigdca_status read_varint(const Context &context, Bytes *bytes, const char *where,
                          uint32_t *value);

}  // namespace sigdca
