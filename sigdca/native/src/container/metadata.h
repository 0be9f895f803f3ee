// What the writer noted for people; mirrors sigdca/codec/reader.py's get_metadata.
#pragma once

#include "core/context.h"

namespace sigdca {

// Whether a metadata section is a canonical JSON object of strings. Nothing is kept of it.
sigdca_status check_metadata(const Context &context, const uint8_t *data, size_t bytes);

}  // namespace sigdca
