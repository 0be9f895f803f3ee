// The operators that a graph may have, and the range of every attribute; mirrors
// sigdca/codec/op_kinds.py.
#pragma once

#include "container/text.h"

namespace sigdca {

constexpr uint32_t kMaxInputs = 256;
constexpr int kMaxNumbers = 11, kMaxReals = 3;

struct AttrKind {
  enum Type : uint8_t { kInt, kPair, kFloat };
  const char *name;
  Type type;
  uint32_t low, high;
};

struct OpKind {
  const char *name;
  const AttrKind *attrs;
  int num_attrs;
  bool has_tensors;
  uint32_t min_inputs, max_inputs;
};

// Null for an unknown code.
const OpKind *op_kind(uint8_t code);

// An operator as it was read, before anything of it is checked.
struct RawOp {
  uint8_t code;
  uint32_t index;
  uint32_t num_inputs;
  uint32_t back[kMaxInputs];  // its inputs, counted back from `index`
  const uint8_t *name;
  uint32_t name_bytes;
  uint32_t numbers[kMaxNumbers];  // in the attributes' order, a pair as two
  double reals[kMaxReals];

  const OpKind &kind() const { return *op_kind(code); }
};

// "layer 'conv1'", or "operator 3 (relu)": how messages begin.
Text where(const RawOp &op);

// Whether each attribute is in its range.
sigdca_status check_attrs(const Context &context, const RawOp &op);

}  // namespace sigdca
