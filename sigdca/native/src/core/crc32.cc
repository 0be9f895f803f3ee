#include "core/crc32.h"

#include "core/bytes.h"

namespace sigdca {
namespace {

// Slicing by 4 (Kounavis and Berry 2005): values[k][b] is what byte b does k bytes later.
struct Tables {
  uint32_t values[4][256];
};

constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0u);
    tables.values[0][byte] = value;
  }
  for (int slice = 1; slice < 4; ++slice) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables.values[slice - 1][byte];
      tables.values[slice][byte] = before >> 8 ^ tables.values[0][before & 255];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

uint32_t crc32(const uint8_t *data, size_t bytes) {
  const auto &table = kTables.values;
  uint32_t crc = ~0u;
  for (; bytes >= 4; data += 4, bytes -= 4) {
    const uint32_t word = load<uint32_t>(data) ^ crc;
    crc = table[3][word & 255] ^ table[2][word >> 8 & 255] ^ table[1][word >> 16 & 255] ^
          table[0][word >> 24];
  }
  for (; bytes > 0; ++data, --bytes) crc = crc >> 8 ^ table[0][(crc ^ *data) & 255];
  return ~crc;
}

}  // namespace sigdca
