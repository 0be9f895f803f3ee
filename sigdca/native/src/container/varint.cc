#include "container/varint.h"

namespace sigdca {

sigdca_status read_varint(const Context &context, Bytes *bytes, const char *where,
                          uint32_t *value) {
  constexpr size_t kMaxBytes = 5;
  const size_t start = bytes->at;
  uint64_t number = 0;
  for (size_t index = 0; index < kMaxBytes; ++index) {
    if (start + index >= bytes->size) {
      return context.fail(SIGDCA_VARINT, "%s: number at byte %zu ends early, at byte %zu", where,
                          start, bytes->size);
    }
    const uint8_t byte = bytes->data[start + index];
    number |= static_cast<uint64_t>(byte & 127) << 7 * index;
    if (byte >= 128) continue;
    if (index > 0 && byte == 0) {
      return context.fail(SIGDCA_VARINT, "%s: number %llu at byte %zu has a needless byte", where,
                          static_cast<unsigned long long>(number), start);
    }
    if (number > UINT32_MAX) break;
    *value = static_cast<uint32_t>(number);
    bytes->at = start + index + 1;
    return SIGDCA_OK;
  }
  return context.fail(SIGDCA_VARINT, "%s: number at byte %zu exceeds %u", where, start,
                      UINT32_MAX);
}

}  // namespace sigdca
