// A network's operators (SPEC.md, "Graph"), read and checked whole; mirrors sigdca/codec/graph.py.
#pragma once

#include "core/context.h"

namespace sigdca {

// The numbers are the container's.
enum class OpCode : uint8_t {
  kConv = 1,
  kFc = 2,
  kMaxPool = 3,
  kAvgPool = 4,
  kGlobalAvgPool = 5,
  kRelu = 6,
  kRelu6 = 7,
  kFlatten = 8,
  kSoftmax = 9,
  kLrn = 10,
  kBatchNorm = 11,
  kAdd = 12,
  kConcat = 13,
};

// "conv", "fc", ...
const char *op_name(OpCode code);

// Of one image: [channels, height, width], or [features, 1, 1] where `flat`.
struct Shape {
  uint32_t channels = 0, height = 1, width = 1;
  bool flat = false;

  size_t values() const { return size_t{channels} * height * width; }
};

// A window's pairs are (height, width).
struct Window {
  uint32_t kernel[2], stride[2], padding[2], dilation[2];
};

struct Op {
  OpCode code;
  uint32_t num_inputs;
  uint32_t first_input;  // in Graph::inputs
  uint32_t first_name;   // in Graph::names, ended by a zero byte
  int32_t first_tensor;  // its weight's number, bias (and statistics) behind it; -1: none
  uint32_t num_tensors;
  Shape output;
  Window window;         // conv and pools
  uint32_t groups;       // conv
  bool has_bias;         // conv, fc
  bool ceil, include_pad;  // pools
  uint32_t lrn_size;
  double alpha, beta, k;  // lrn
  double eps;             // batch_norm
};

struct Graph {
  Shape input;
  double input_scale = 1;
  Array<Op> ops;
  // Values that operators take: 0 is the network's input, i + 1 the output of ops[i].
  Array<uint32_t> inputs;
  Array<char> names;
  uint32_t num_tensors = 0;

  const uint32_t *inputs_of(const Op &op) const { return inputs.data() + op.first_input; }
  const char *name_of(const Op &op) const { return names.data() + op.first_name; }
  const Shape &shape_of(uint32_t value) const {
    return value == 0 ? input : ops[value - 1].output;
  }
};

// Of an operator's first tensor; 0 if it has none.
uint64_t num_weights(const Graph &graph, const Op &op);

sigdca_status read_graph(const Context &context, const uint8_t *data, size_t bytes, Graph *graph);

}  // namespace sigdca
