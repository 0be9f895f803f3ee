#include "container/arithmetic.h"

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

}  // namespace sigdca
