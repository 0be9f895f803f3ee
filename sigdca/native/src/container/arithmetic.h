// Adaptive binary arithmetic coding with additive contexts (SPEC.md, "Arithmetic stream"); mirrors
// sigdca/codec/arithmetic.py.
#pragma once

#include "core/context.h"

namespace sigdca {

#ifdef __OPTIMIZE_SIZE__  // boards count bytes
#define SIGDCA_ONCE __attribute__((noinline))
#else
#define SIGDCA_ONCE
#endif

constexpr uint32_t kMaxCount = 768, kMaxSeen = 1023;

struct ArithmeticTables {
  uint16_t probabilities[2048];  // of a 1, in units of 2^-16; log-odds 0 to 8 in steps of 1/256
  uint16_t rates[kMaxCount + 1];  // how fast a feature learns, by how often it was met
  uint16_t shares[kMaxSeen + 1];  // what the next bit counts for, by how many a counter has seen
};

extern const ArithmeticTables kArithmetic;

// Of a 1, by the sum of its features' log-odds: one alone fits 32 bits for as many bits as a
// container may have.
inline uint32_t probability_of(int64_t logit) {
  const int64_t place = logit >> 8;
  const int64_t size = place < 0 ? -place : place;
  const uint32_t likely = kArithmetic.probabilities[size < 2047 ? size : 2047];
  return place < 0 ? 65536 - likely : likely;
}

// What a bit's surroundings say: log-odds in units of 2^-16, and how often it was met.
struct Feature {
  int32_t logit = 0;
  uint32_t count = 0;

  void teach(int32_t error) {
    logit += static_cast<int32_t>((int64_t{error} * kArithmetic.rates[count] + 0x8000) >> 16);
    count += count < kMaxCount;
  }
};

// A context's probability of a 1, in units of 2^-28, and how many bits that is the mean of.
struct Counter {
  int32_t mean = 1 << 27;
  uint32_t seen = 0;

  uint32_t probability() const {
    const uint32_t rounded = static_cast<uint32_t>(mean) >> 12;
    return rounded < 32 ? 32 : rounded > 65504 ? 65504 : rounded;
  }
  void count(uint32_t bit) {
    const int64_t error = static_cast<int32_t>(bit << 28) - mean;
    mean += static_cast<int32_t>((error * kArithmetic.shares[seen]) >> 16);
    seen += seen < kMaxSeen;
  }
};

// Bytes to bits. Behind the stream's end there are zeros.
class ArithmeticDecoder {
 public:
  static constexpr bool kEncodes = false;

  ArithmeticDecoder(const uint8_t *data, size_t bytes) : data_(data), bytes_(bytes) {
    for (int index = 0; index < 4; ++index) code_ = code_ << 8 | next();
  }

  // The next bit, whose probability the features give; teaches them.
  template <class... Features>
  uint32_t bit(uint32_t /*unused*/, Features *...features) {
    const uint32_t probability = probability_of((int64_t{features->logit} + ...));
    const uint32_t found = split(probability);
    const int32_t error = static_cast<int32_t>(found << 16) - static_cast<int32_t>(probability);
    (features->teach(error), ...);
    return found;
  }

  // The next bit, as likely as the counter says.
  SIGDCA_ONCE uint32_t counted(uint32_t /*unused*/, Counter *counter) {
    const uint32_t found = split(counter->probability());
    counter->count(found);
    return found;
  }

  // The same for bits that no processor could foretell: without a branch.
  SIGDCA_ONCE uint32_t tossed(uint32_t /*unused*/, Counter *counter) {
    const uint32_t found = cut((range_ >> 16) * counter->probability());
    counter->count(found);
    return found;
  }

  // The next bits, all as likely as not, from the top one down.
  SIGDCA_ONCE uint32_t plain(uint32_t /*unused*/, uint32_t num_bits) {
    uint32_t value = 0;
    for (; num_bits > 0; --num_bits) value = value << 1 | cut(range_ >> 16 << 15);
    return value;
  }

  // Whether the stream was read to its end.
  sigdca_status finish(const Context &context, const char *where) const;

 private:
  uint32_t next() {
    const uint32_t byte = at_ < bytes_ ? data_[at_] : 0;
    ++at_;
    return byte;
  }

  uint32_t split(uint32_t probability) {
    const uint32_t bound = (range_ >> 16) * probability;
    const uint32_t found = code_ < bound;
    if (found) {
      range_ = bound;
    } else {
      code_ -= bound;
      range_ -= bound;
    }
    fill();
    return found;
  }

  // As split, without a branch.
  uint32_t cut(uint32_t bound) {
    const uint32_t over = 0u - (code_ >= bound);
    code_ -= bound & over;
    range_ = (bound & ~over) | ((range_ - bound) & over);
    fill();
    return 1 + over;
  }

  void fill() {
    while (range_ < 1u << 24) {
      code_ = code_ << 8 | next();
      range_ <<= 8;
    }
  }

  const uint8_t *data_;
  size_t bytes_, at_ = 0;
  uint32_t code_ = 0, range_ = 0xFFFFFFFFu;
};

// Bits to bytes.
class ArithmeticEncoder {
 public:
  static constexpr bool kEncodes = true;

  template <class... Features>
  uint32_t bit(uint32_t bit, Features *...features) {
    const uint32_t probability = probability_of((int64_t{features->logit} + ...));
    split(bit, probability);
    const int32_t error = static_cast<int32_t>(bit << 16) - static_cast<int32_t>(probability);
    (features->teach(error), ...);
    return bit;
  }

  uint32_t counted(uint32_t bit, Counter *counter) {
    split(bit, counter->probability());
    counter->count(bit);
    return bit;
  }

  uint32_t tossed(uint32_t bit, Counter *counter) { return counted(bit, counter); }

  uint32_t plain(uint32_t value, uint32_t num_bits) {
    for (uint32_t left = num_bits; left > 0; --left) split(value >> (left - 1) & 1, 0x8000);
    return value;
  }

  // Makes room for at least so many bits; all later bits need it.
  sigdca_status reserve(const Context &context, size_t num_bits);

  // The stream: as few bytes as tell it from all others, the zeros at its end left out.
  void finish();
  const uint8_t *data() const { return out_.data(); }
  size_t bytes() const { return size_; }

 private:
  void split(uint32_t bit, uint32_t probability) {
    const uint32_t bound = (range_ >> 16) * probability;
    if (bit) {
      range_ = bound;
    } else {
      low_ += bound;
      range_ -= bound;
    }
    while (range_ < 1u << 24) {
      carry();
      out_[size_++] = static_cast<uint8_t>(low_ >> 24);
      low_ = low_ << 8 & 0xFFFFFFFFu;
      range_ <<= 8;
    }
  }

  // Adds a carry to the bytes that are out.
  void carry() {
    if (low_ <= 0xFFFFFFFFu) return;
    size_t at = size_ - 1;
    while (out_[at] == 255) out_[at--] = 0;
    ++out_[at];
    low_ &= 0xFFFFFFFFu;
  }

  Array<uint8_t> out_;
  size_t size_ = 0;
  uint64_t low_ = 0;
  uint32_t range_ = 0xFFFFFFFFu;
};

}  // namespace sigdca
