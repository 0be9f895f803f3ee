// The container's checksum: CRC-32 as in zlib.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sigdca {

uint32_t crc32(const uint8_t *data, size_t bytes);

}  // namespace sigdca
