#include "container/rans.h"

#include "core/bytes.h"

namespace sigdca {

sigdca_status RansTable::open(const Context &context, const int32_t *frequencies,
                              uint32_t alphabet) {
  SIGDCA_TRY(slots_.allocate(context, kScale));
  uint32_t *slot = slots_.data();
  for (uint32_t symbol = 0; symbol < alphabet; ++symbol) {
    const uint32_t frequency = static_cast<uint32_t>(frequencies[symbol]);
    for (uint32_t place = 0; place < frequency; ++place)
      *slot++ = symbol | (frequency - 1) << 8 | place << 20;
  }
  return SIGDCA_OK;
}

sigdca_status RansTable::decode(const Context &context, const uint8_t *stream, size_t bytes,
                                size_t count, const char *where, uint8_t *symbols) const {
  if (count == 0) {
    if (bytes == 0) return SIGDCA_OK;
    return context.fail(SIGDCA_TRAILING_BITS, "%s: has %zu bytes for no symbols", where, bytes);
  }
  if (bytes < kRansStateBytes)
    return context.fail(SIGDCA_STREAM_END, "%s: ends within its states", where);
  if (bytes % 2 != 0) return context.fail(SIGDCA_TRAILING_BITS, "%s: has half a word", where);
  uint32_t states[kRansLanes];
  memcpy(states, stream, sizeof states);
  const uint8_t *word = stream + kRansStateBytes, *const end = stream + bytes;
  const uint32_t *const slots = slots_.data();
  const auto step = [slots](uint32_t state, uint8_t *symbol) {
    const uint32_t slot = slots[state & (kScale - 1)];
    *symbol = static_cast<uint8_t>(slot);
    return ((slot >> 8 & (kScale - 1)) + 1) * (state >> kScaleBits) + (slot >> 20);
  };
  size_t index = 0;
  uint32_t a = states[0], b = states[1], c = states[2], d = states[3];
  // Four symbols take four words at the most.
  const auto refill = [&word](uint32_t state) {
    const uint32_t filled = state << 16 | load<uint16_t>(word);
    const bool low = state < kRansLow;
    word += low ? 2 : 0;
    return low ? filled : state;
  };
  for (; count - index >= kRansLanes && end - word >= 8; index += kRansLanes) {
    a = step(a, symbols + index);
    b = step(b, symbols + index + 1);
    c = step(c, symbols + index + 2);
    d = step(d, symbols + index + 3);
    a = refill(a);
    b = refill(b);
    c = refill(c);
    d = refill(d);
  }
  states[0] = a, states[1] = b, states[2] = c, states[3] = d;
  for (; index < count; ++index) {
    uint32_t &state = states[index % kRansLanes];
    state = step(state, symbols + index);
    if (state >= kRansLow) continue;
    if (word == end) {
      return context.fail(SIGDCA_STREAM_END, "%s: ends at symbol %zu of %zu", where, index, count);
    }
    state = refill(state);
  }
  if (word < end) {
    return context.fail(SIGDCA_TRAILING_BITS, "%s: goes on for %zu words", where,
                        static_cast<size_t>(end - word) / 2);
  }
  for (const uint32_t state : states) {
    if (state == kRansLow) continue;
    return context.fail(SIGDCA_RANS_STATE, "%s: its states do not end where they began", where);
  }
  return SIGDCA_OK;
}

}  // namespace sigdca
