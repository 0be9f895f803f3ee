// A container's file in memory.
#pragma once

#include "core/context.h"

namespace sigdca {

// Maps the file at `path`, read-only. An empty file gives no bytes, which unmap_file allows.
sigdca_status map_file(const Context &context, const char *path, const uint8_t **data,
                       size_t *bytes);

void unmap_file(const uint8_t *data, size_t bytes);

}  // namespace sigdca
