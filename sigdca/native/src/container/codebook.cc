#include "container/codebook.h"

#include "container/huffman.h"
#include "container/text.h"
#include "core/bytes.h"

namespace sigdca {
namespace {

constexpr uint32_t kSign = 0x80000000u;

float to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// Numbers that ascend as the floats do, and back.
uint32_t to_key(uint32_t bits) { return bits & kSign ? ~bits : bits | kSign; }
uint32_t from_key(uint32_t key) { return key & kSign ? key & ~kSign : ~key; }

// Sorts by byte, the lowest first; `spare` has room for as many.
void radix_sort(uint32_t *keys, uint32_t *spare, size_t count) {
  for (int shift = 0; shift < 32; shift += 8) {
    size_t places[256] = {};
    for (size_t index = 0; index < count; ++index) ++places[keys[index] >> shift & 255];
    size_t begin = 0;
    for (size_t &place : places) {
      const size_t size = place;
      place = begin;
      begin += size;
    }
    for (size_t index = 0; index < count; ++index)
      spare[places[keys[index] >> shift & 255]++] = keys[index];
    uint32_t *const swapped = keys;  // four times: the keys end up where they were
    keys = spare;
    spare = swapped;
  }
}

sigdca_status check_distinct(const Context &context, const uint8_t *data, size_t count,
                             const char *where) {
  Array<uint32_t> keys;
  SIGDCA_TRY(keys.allocate(context, 2 * count));
  for (size_t index = 0; index < count; ++index)
    keys[index] = to_key(load<uint32_t>(data + 4 * index));
  radix_sort(keys.data(), keys.data() + count, count);
  for (size_t index = 1; index < count; ++index) {
    if (keys[index] != keys[index - 1]) continue;
    return context.fail(SIGDCA_CODEBOOK, "%s: codebook holds %s twice", where,
                        describe(to_float(from_key(keys[index]))).get());
  }
  return SIGDCA_OK;
}

}  // namespace

sigdca_status check_values(const Context &context, const uint8_t *data, size_t count,
                           const char *where) {
  for (size_t index = 0; index < count; ++index) {
    const uint32_t bits = load<uint32_t>(data + 4 * index);
    if (!is_wrong_value(bits)) continue;
    return context.fail(SIGDCA_VALUE_RANGE, "%s: value %zu is %s, must be finite and not -0",
                        where, index, describe(to_float(bits)).get());
  }
  return SIGDCA_OK;
}

sigdca_status read_codebook(const Context &context, const Section &section, bool has_gaps,
                            const char *where, Array<float> *codebook) {
  const size_t count = section.bytes / 4;
  if (section.bytes % 4 != 0 || count < 1 || count > kMaxAlphabet) {
    return context.fail(SIGDCA_CODEBOOK, "%s: codebook has %u bytes, must be 4 times 1..%u", where,
                        section.bytes, kMaxAlphabet);
  }
  Text place;
  place.add("%s: codebook", where);
  SIGDCA_TRY(check_values(context, section.data, count, place.get()));
  SIGDCA_TRY(check_distinct(context, section.data, count, where));
  SIGDCA_TRY(codebook->allocate(context, count));
  memcpy(codebook->data(), section.data, section.bytes);
  for (size_t index = 0; has_gaps && index < count; ++index) {
    if ((*codebook)[index] == 0) {
      return context.fail(SIGDCA_CODEBOOK, "%s: codebook holds 0, which the gaps say already",
                          where);
    }
  }
  return SIGDCA_OK;
}

}  // namespace sigdca
