// rANS streams for programs that write containers or take them apart.
#include <string.h>

#include "codec/weights_sink.h"

using sigdca::Context;

namespace sigdca {
namespace {

Context start(const sigdca_allocator *allocator, sigdca_error *error) {
  if (error != nullptr) {
    error->status = SIGDCA_OK;
    error->message[0] = 0;
  }
  return Context{allocator == nullptr ? default_allocator() : *allocator, error};
}

sigdca_status check_frequencies(const Context &context, const int32_t *frequencies,
                                uint32_t alphabet) {
  uint64_t total = 0;
  bool sound = alphabet <= kRansAlphabet;
  for (uint32_t symbol = 0; sound && symbol < alphabet; ++symbol) {
    sound = frequencies[symbol] >= 0;
    total += static_cast<uint32_t>(frequencies[symbol]);
  }
  if (sound && total == kScale) return SIGDCA_OK;
  return context.fail(SIGDCA_INVALID_ARGUMENT, "rans: %u frequencies of sum %llu, must be %u",
                      alphabet, static_cast<unsigned long long>(total), kScale);
}

}  // namespace
}  // namespace sigdca

sigdca_status sigdca_rans_encode(const uint8_t *symbols, size_t count, const int32_t *frequencies,
                                 uint32_t alphabet, void *out, size_t *bytes,
                                 sigdca_error *error) {
  using namespace sigdca;
  const Context context = start(nullptr, error);
  SIGDCA_TRY(check_frequencies(context, frequencies, alphabet));
  *bytes = 0;
  if (count == 0) return SIGDCA_OK;
  uint32_t starts[kRansAlphabet] = {}, widths[kRansAlphabet] = {};
  for (uint32_t symbol = 0, total = 0; symbol < alphabet; ++symbol) {
    starts[symbol] = total, widths[symbol] = static_cast<uint32_t>(frequencies[symbol]);
    total += widths[symbol];
  }
  uint32_t states[kRansLanes] = {kRansLow, kRansLow, kRansLow, kRansLow};
  uint8_t *const begin = static_cast<uint8_t *>(out), *const words = begin + kRansStateBytes;
  uint8_t *at = words + 2 * count;  // the last word comes first
  const auto put = [&](uint32_t *state, uint8_t symbol) {
    const uint32_t width = widths[symbol];
    uint32_t now = *state;
    if (now >= uint64_t{width} << (32 - kScaleBits)) {
      at -= 2;
      at[0] = static_cast<uint8_t>(now), at[1] = static_cast<uint8_t>(now >> 8);
      now >>= 16;
    }
    const uint32_t rounds = now / width;
    *state = (rounds << kScaleBits) + (now - rounds * width) + starts[symbol];
  };
  for (size_t index = count; index-- > 0;) {
    if (widths[symbols[index]] == 0) {
      return context.fail(SIGDCA_INVALID_ARGUMENT, "rans: symbol %u has no frequency",
                          symbols[index]);
    }
    put(&states[index % kRansLanes], symbols[index]);
  }
  const size_t word_bytes = static_cast<size_t>(words + 2 * count - at);
  memcpy(begin, states, sizeof states);
  memmove(words, at, word_bytes);
  *bytes = kRansStateBytes + word_bytes;
  return SIGDCA_OK;
}

sigdca_status sigdca_rans_decode(const void *data, size_t bytes, uint32_t structure,
                                 const int32_t *frequencies, const int32_t *level_frequencies,
                                 const sigdca_chunk *chunk, const char *where,
                                 const sigdca_allocator *allocator, sigdca_error *error) {
  using namespace sigdca;
  const Context context = start(allocator, error);
  if (structure > kMaxGapSymbolBits || structure == 1 || chunk->size == 0) {
    return context.fail(SIGDCA_INVALID_ARGUMENT, "rans: structure %u, %u weights", structure,
                        chunk->size);
  }
  const uint32_t alphabet = structure == 0 ? kRansAlphabet : 1u << structure;
  const uint32_t num_values = chunk->negative + chunk->positive;
  SIGDCA_TRY(check_frequencies(context, frequencies, alphabet));
  SIGDCA_TRY(check_frequencies(context, level_frequencies, num_values));
  RansHead head;
  head.structure = structure;
  SIGDCA_TRY(head.places.open(context, frequencies, alphabet));
  SIGDCA_TRY(head.levels.open(context, level_frequencies, num_values));
  WeightsSink sink(*chunk);
  const Bytes content{static_cast<const uint8_t *>(data), bytes};
  return read_rans(context, head, content, chunk->size, where, &sink);
}
