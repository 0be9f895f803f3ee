// Numbers in a container's bytes: little-endian, at any address.
#pragma once

#include <stdint.h>
#include <string.h>

namespace sigdca {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "all targets are little-endian");

template <class T>
inline T load(const uint8_t *data) {
  T value;
  memcpy(&value, data, sizeof value);
  return value;
}

}  // namespace sigdca
