#include "parts.h"

#include <string.h>

#include "core/crc32.h"

namespace sigdca_fuzz {
namespace {

constexpr uint8_t kMagic[] = {0x89, 'D', 'C', 'A', '\r', '\n', 0x1A, '\n'};
constexpr size_t kHeaderBytes = 20, kChecksumBytes = 4;

bool is_of_file(uint8_t tag) { return (tag & 15) < 2; }

bool get_varint(const uint8_t *data, size_t end, size_t *at, uint32_t *value) {
  *value = 0;
  for (int shift = 0; shift < 35 && *at < end; shift += 7) {
    const uint8_t byte = data[(*at)++];
    *value |= static_cast<uint32_t>(static_cast<uint64_t>(byte & 127) << shift);
    if (byte < 128) return true;
  }
  return false;
}

void put_varint(uint32_t value, std::vector<uint8_t> *out) {
  for (; value >= 128; value >>= 7) out->push_back(static_cast<uint8_t>(value | 128));
  out->push_back(static_cast<uint8_t>(value));
}

void put_number(uint32_t value, int bytes, std::vector<uint8_t> *out) {
  for (int index = 0; index < bytes; ++index)
    out->push_back(static_cast<uint8_t>(value >> 8 * index));
}

constexpr size_t kTableAtV2 = 10;
constexpr uint8_t kRans = 2, kArithmetic = 3, kSparse = 4, kLayer = 6;

// The graph of version 2 is coded, that of version 1 is not.
bool is_v2(const std::vector<Part> &parts) {
  return !parts.empty() && parts[0].tag >> 4 == kArithmetic;
}

bool take_apart_v2(const uint8_t *data, size_t bytes, std::vector<Part> *parts) {
  size_t at = kTableAtV2;
  uint32_t table_bytes = 0;
  if (!get_varint(data, bytes, &at, &table_bytes)) return false;
  if (bytes - at < kChecksumBytes || table_bytes > bytes - at - kChecksumBytes) return false;
  const size_t end = at + table_bytes;
  size_t begin = end + kChecksumBytes;
  while (at < end) {
    Part part{data[at++], 0, {}};
    uint32_t length = 0;
    if (!get_varint(data, end, &at, &length) || end - at < kChecksumBytes) return false;
    at += kChecksumBytes;
    if (length > bytes - begin) length = static_cast<uint32_t>(bytes - begin);
    part.payload.assign(data + begin, data + begin + length);
    begin += length;
    parts->push_back(part);
  }
  return is_v2(*parts);
}

std::vector<uint8_t> put_together_v2(const std::vector<Part> &parts) {
  std::vector<uint8_t> table, body;
  for (const Part &part : parts) {
    table.push_back(part.tag);
    put_varint(static_cast<uint32_t>(part.payload.size()), &table);
    put_number(sigdca::crc32(part.payload.data(), part.payload.size()), 4, &table);
    body.insert(body.end(), part.payload.begin(), part.payload.end());
  }
  std::vector<uint8_t> out(kMagic, kMagic + sizeof kMagic);
  put_number(2, 2, &out);
  put_varint(static_cast<uint32_t>(table.size()), &out);
  out.insert(out.end(), table.begin(), table.end());
  put_number(sigdca::crc32(out.data(), out.size()), 4, &out);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

}  // namespace

bool take_apart(const uint8_t *data, size_t bytes, std::vector<Part> *parts) {
  if (bytes > kTableAtV2 && data[8] == 2 && data[9] == 0) return take_apart_v2(data, bytes, parts);
  if (bytes < kHeaderBytes + kChecksumBytes) return false;
  const size_t num_parts = data[10] | data[11] << 8;
  uint32_t table_bytes;
  memcpy(&table_bytes, data + 16, sizeof table_bytes);
  if (table_bytes > bytes - kHeaderBytes - kChecksumBytes) return false;
  const size_t end = kHeaderBytes + table_bytes;
  size_t at = kHeaderBytes, begin = end + kChecksumBytes;
  for (size_t number = 0; number < num_parts && at < end; ++number) {
    Part part{data[at++], 0, {}};
    uint32_t length = 0;
    if (!is_of_file(part.tag) && !get_varint(data, end, &at, &part.tensor)) return false;
    if (!get_varint(data, end, &at, &length) || end - at < kChecksumBytes) return false;
    at += kChecksumBytes;
    if (length > bytes - begin) length = static_cast<uint32_t>(bytes - begin);
    part.payload.assign(data + begin, data + begin + length);
    begin += length;
    parts->push_back(part);
  }
  return !parts->empty();
}

std::vector<uint8_t> put_together(const std::vector<Part> &parts) {
  if (is_v2(parts)) return put_together_v2(parts);
  std::vector<uint8_t> table, body;
  for (const Part &part : parts) {
    table.push_back(part.tag);
    if (!is_of_file(part.tag)) put_varint(part.tensor, &table);
    put_varint(static_cast<uint32_t>(part.payload.size()), &table);
    put_number(sigdca::crc32(part.payload.data(), part.payload.size()), 4, &table);
    body.insert(body.end(), part.payload.begin(), part.payload.end());
  }
  std::vector<uint8_t> out(kMagic, kMagic + sizeof kMagic);
  put_number(1, 2, &out);
  put_number(static_cast<uint32_t>(parts.size()), 2, &out);
  const size_t total = kHeaderBytes + table.size() + kChecksumBytes + body.size();
  put_number(static_cast<uint32_t>(total), 4, &out);
  put_number(static_cast<uint32_t>(table.size()), 4, &out);
  out.insert(out.end(), table.begin(), table.end());
  put_number(sigdca::crc32(out.data(), out.size()), 4, &out);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

bool take_chunks(const Part &part, std::vector<std::vector<uint8_t>> *pieces) {
  const uint8_t coder = part.tag >> 4;
  if ((part.tag & 15) != kLayer || (coder != kRans && coder != kSparse)) return false;
  const uint8_t *const data = part.payload.data();
  const size_t bytes = part.payload.size();
  for (size_t at = 0; at < bytes;) {
    uint32_t length = 0;
    if (!get_varint(data, bytes, &at, &length) || length > bytes - at) return false;
    pieces->emplace_back(data + at, data + at + length);
    at += length;
  }
  return !pieces->empty();
}

std::vector<uint8_t> put_chunks(const std::vector<std::vector<uint8_t>> &pieces) {
  std::vector<uint8_t> out;
  for (const std::vector<uint8_t> &piece : pieces) {
    put_varint(static_cast<uint32_t>(piece.size()), &out);
    out.insert(out.end(), piece.begin(), piece.end());
  }
  return out;
}

}  // namespace sigdca_fuzz
