#include "core/crc32.h"

#include "core/bytes.h"

namespace sigdca {
namespace {

// Slicing by 8 (Kounavis and Berry 2005): values[k][b] is what byte b does k bytes later.
struct Tables {
  uint32_t values[8][256];
};

constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0u);
    tables.values[0][byte] = value;
  }
  for (int slice = 1; slice < 8; ++slice) {
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
  for (; bytes >= 8; data += 8, bytes -= 8) {
    const uint64_t word = load<uint64_t>(data) ^ crc;
    crc = table[7][word & 255] ^ table[6][word >> 8 & 255] ^ table[5][word >> 16 & 255] ^
          table[4][word >> 24 & 255] ^ table[3][word >> 32 & 255] ^ table[2][word >> 40 & 255] ^
          table[1][word >> 48 & 255] ^ table[0][word >> 56];
  }
  for (; bytes > 0; ++data, --bytes) crc = crc >> 8 ^ table[0][(crc ^ *data) & 255];
  return ~crc;
}

}  // namespace sigdca
