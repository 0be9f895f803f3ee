// Bytes that are coded (SPEC.md, "Coded bytes"); mirrors sigdca/codec/text_model.py.
#pragma once

#include "core/context.h"

namespace sigdca {

// Reads a section of coded bytes: their number, at most `limit`, then their stream.
sigdca_status read_coded_bytes(const Context &context, const uint8_t *data, size_t bytes,
                               const char *where, size_t limit, Array<uint8_t> *found);

}  // namespace sigdca
