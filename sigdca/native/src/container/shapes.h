// The shapes that follow from a graph; mirrors the rules of sigdca/codec/graph.py.
#pragma once

#include "container/op_kinds.h"

namespace sigdca {

constexpr uint64_t kMaxValues = 1u << 28;  // in one activation, padding included
constexpr uint64_t kMaxWeights = uint64_t{1} << 31;

// A shape that may still be larger than any may be.
struct WideShape {
  uint64_t sizes[3];
  bool flat = false;

  WideShape(uint64_t channels, uint64_t height, uint64_t width) : sizes{channels, height, width} {}
  explicit WideShape(const Shape &shape)
      : sizes{shape.channels, shape.height, shape.width}, flat(shape.flat) {}
};

// Whether it has at most 2^28 values; `where` opens the message.
sigdca_status check_size(const Context &context, const WideShape &shape, const char *where,
                         const char *part);

// The shape of op.output; its inputs and attributes are checked already. Window, groups and all
// else in `op` are set.
sigdca_status infer_shape(const Context &context, const Graph &graph, const RawOp &raw,
                          const Op &op, Shape *shape);

}  // namespace sigdca
