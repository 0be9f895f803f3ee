#include "container/arithmetic.h"

#include <string.h>

namespace sigdca {
namespace {

constexpr int kMost = 65504;  // no bit is certain

// By products and quotients alone, which every IEEE 754 machine rounds alike.
constexpr ArithmeticTables make_tables() {
  ArithmeticTables tables{};
  double odds = 1;
  for (uint16_t &probability : tables.probabilities) {
    const int rounded = static_cast<int>(65536.0 * (odds / (1.0 + odds)) + 0.5);
    probability = static_cast<uint16_t>(rounded < kMost ? rounded : kMost);
    odds *= 1.0039138893383475734;  // e^(1/256)
  }
  for (uint32_t count = 0; count <= kMaxCount; ++count)
    tables.rates[count] = static_cast<uint16_t>((16u << 16) / (32 + count));
  for (uint32_t seen = 0; seen <= kMaxSeen; ++seen)
    tables.shares[seen] = static_cast<uint16_t>((2u << 16) / (2 * seen + 3));
  return tables;
}

}  // namespace

constexpr ArithmeticTables kTables = make_tables();
const ArithmeticTables kArithmetic = kTables;

sigdca_status ArithmeticDecoder::finish(const Context &context, const char *where) const {
  if (at_ < bytes_) {
    return context.fail(SIGDCA_TRAILING_BITS, "%s is read at byte %zu, but goes on to %zu", where,
                        at_, bytes_);
  }
  if (bytes_ > 0 && data_[bytes_ - 1] == 0)
    return context.fail(SIGDCA_TRAILING_BITS, "%s ends with a zero byte", where);
  return SIGDCA_OK;
}

sigdca_status ArithmeticEncoder::reserve(const Context &context, size_t num_bits) {
  // A bit takes a little over 11 at most: its probability is 1/2048 at least. Four bytes are left for the end.
  const size_t needed = size_ + 4 + num_bits / 8 * 12 + 16;
  if (needed <= out_.size()) return SIGDCA_OK;
  Array<uint8_t> larger;
  SIGDCA_TRY(larger.allocate(context, needed + needed / 2));
  if (size_ > 0) memcpy(larger.data(), out_.data(), size_);
  out_.swap(larger);
  return SIGDCA_OK;
}

void ArithmeticEncoder::finish() {
  uint64_t value = low_;
  for (int cut = 24; cut >= 0; cut -= 8) {
    value = (low_ + (uint64_t{1} << cut) - 1) >> cut << cut;
    if (value < low_ + range_) break;
  }
  low_ = value;
  carry();
  for (int shift = 24; shift >= 0; shift -= 8) out_[size_++] = static_cast<uint8_t>(low_ >> shift);
  while (size_ > 0 && out_[size_ - 1] == 0) --size_;
}

}  // namespace sigdca
