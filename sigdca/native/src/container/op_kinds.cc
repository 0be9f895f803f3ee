#include "container/op_kinds.h"

namespace sigdca {
namespace {

constexpr auto kInt = AttrKind::kInt;
constexpr auto kPair = AttrKind::kPair;
constexpr auto kFloat = AttrKind::kFloat;
constexpr uint32_t kMaxSize = 1u << 24, kMaxSteps = 4096, kMaxFactor = 1000000;

constexpr AttrKind kConvAttrs[] = {
    {"out_channels", kInt, 1, kMaxSize}, {"kernel", kPair, 1, kMaxSteps},
    {"stride", kPair, 1, kMaxSteps},     {"padding", kPair, 0, kMaxSteps},
    {"dilation", kPair, 1, kMaxSteps},   {"groups", kInt, 1, kMaxSize},
    {"bias", kInt, 0, 1},
};
constexpr AttrKind kFcAttrs[] = {{"out_features", kInt, 1, kMaxSize}, {"bias", kInt, 0, 1}};
// max_pool has all but the last.
constexpr AttrKind kPoolAttrs[] = {
    {"kernel", kPair, 1, kMaxSteps},  {"stride", kPair, 1, kMaxSteps},
    {"padding", kPair, 0, kMaxSteps}, {"ceil", kInt, 0, 1},
    {"include_pad", kInt, 0, 1},
};
constexpr AttrKind kLrnAttrs[] = {
    {"size", kInt, 1, kMaxSteps},
    {"alpha", kFloat, 0, kMaxFactor},
    {"beta", kFloat, 0, kMaxFactor},
    {"k", kFloat, 0, kMaxFactor},
};
constexpr AttrKind kNormAttrs[] = {{"eps", kFloat, 0, 1}};

constexpr OpKind kKinds[] = {
    {"conv", kConvAttrs, 7, true, 1, 1},
    {"fc", kFcAttrs, 2, true, 1, 1},
    {"max_pool", kPoolAttrs, 4, false, 1, 1},
    {"avg_pool", kPoolAttrs, 5, false, 1, 1},
    {"global_avg_pool", nullptr, 0, false, 1, 1},
    {"relu", nullptr, 0, false, 1, 1},
    {"relu6", nullptr, 0, false, 1, 1},
    {"flatten", nullptr, 0, false, 1, 1},
    {"softmax", nullptr, 0, false, 1, 1},
    {"lrn", kLrnAttrs, 4, false, 1, 1},
    {"batch_norm", kNormAttrs, 1, true, 1, 1},
    {"add", nullptr, 0, false, 2, 2},
    {"concat", nullptr, 0, false, 1, kMaxInputs},
};

sigdca_status complain(const Context &context, const RawOp &op, const AttrKind &attr,
                       const Text &got) {
  static const char *const kForms[] = {"a whole number", "two whole numbers", "a finite float"};
  return context.fail(SIGDCA_OPERATOR, "%s: %s must be %s in %u..%u, got %s", where(op).get(),
                      attr.name, kForms[attr.type], attr.low, attr.high, got.get());
}

}  // namespace

const OpKind *op_kind(uint8_t code) {
  return code >= 1 && code <= sizeof kKinds / sizeof kKinds[0] ? &kKinds[code - 1] : nullptr;
}

const char *op_name(OpCode code) { return op_kind(static_cast<uint8_t>(code))->name; }

Text where(const RawOp &op) {
  Text text;
  if (op.name_bytes > 0) {
    text.add("layer '%.*s'", static_cast<int>(op.name_bytes),
             reinterpret_cast<const char *>(op.name));
  } else {
    text.add("operator %u (%s)", op.index, op.kind().name);
  }
  return text;
}

sigdca_status check_attrs(const Context &context, const RawOp &op) {
  const uint32_t *number = op.numbers;
  const double *real = op.reals;
  for (int index = 0; index < op.kind().num_attrs; ++index) {
    const AttrKind &attr = op.kind().attrs[index];
    if (attr.type == AttrKind::kFloat) {
      // Written so that NaN, too, is refused.
      if (!(*real >= attr.low && *real <= attr.high))
        return complain(context, op, attr, describe(*real));
      ++real;
      continue;
    }
    const int count = attr.type == AttrKind::kPair ? 2 : 1;
    bool allowed = true;
    for (int item = 0; item < count; ++item)
      allowed &= number[item] >= attr.low && number[item] <= attr.high;
    if (!allowed) {
      Text got;
      if (count == 2) {
        got.add("(%u, %u)", number[0], number[1]);
      } else {
        got.add("%u", number[0]);
      }
      return complain(context, op, attr, got);
    }
    number += count;
  }
  return SIGDCA_OK;
}

}  // namespace sigdca
