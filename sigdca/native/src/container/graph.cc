#include "container/graph.h"

#include <math.h>
#include <string.h>

#include "container/shapes.h"
#include "container/varint.h"
#include "core/bytes.h"

namespace sigdca {
namespace {

constexpr uint32_t kMaxOps = 4096, kMaxNameBytes = 255;

using Wide = unsigned long long;

// A place in the graph section.
class GraphReader {
 public:
  GraphReader(const Context &context, const uint8_t *data, size_t bytes)
      : context_(context), bytes_{data, bytes} {}

  sigdca_status take(size_t count, const uint8_t **data) {
    if (count > bytes_.size - bytes_.at) {
      return context_.fail(SIGDCA_GRAPH_BYTES,
                           "graph: ends early, at byte %zu; needs %zu bytes at %zu", bytes_.size,
                           count, bytes_.at);
    }
    *data = bytes_.data + bytes_.at;
    bytes_.at += count;
    return SIGDCA_OK;
  }

  sigdca_status number(uint32_t *value) { return read_varint(context_, &bytes_, "graph", value); }

  sigdca_status real(double *value) {
    const uint8_t *data = nullptr;
    SIGDCA_TRY(take(sizeof *value, &data));
    *value = load<double>(data);
    return SIGDCA_OK;
  }

  sigdca_status op(uint32_t index, RawOp *op);

  sigdca_status end() const {
    if (bytes_.at == bytes_.size) return SIGDCA_OK;
    return context_.fail(SIGDCA_GRAPH_BYTES, "graph: ends at byte %zu, its section at %zu",
                         bytes_.at, bytes_.size);
  }

 private:
  sigdca_status name(RawOp *op);
  sigdca_status attrs(RawOp *op);

  const Context &context_;
  Bytes bytes_;
};

sigdca_status GraphReader::op(uint32_t index, RawOp *op) {
  const uint8_t *code = nullptr;
  SIGDCA_TRY(take(1, &code));
  const OpKind *kind = op_kind(*code);
  if (kind == nullptr) {
    return context_.fail(SIGDCA_GRAPH_BYTES, "graph: operator %u has the unknown code %u", index,
                         *code);
  }
  op->code = *code;
  op->index = index;
  op->num_inputs = kind->min_inputs;
  if (kind->min_inputs != kind->max_inputs) SIGDCA_TRY(number(&op->num_inputs));
  if (op->num_inputs > kMaxInputs) {
    return context_.fail(SIGDCA_GRAPH_BYTES, "graph: operator %u promises %u inputs, limit %u",
                         index, op->num_inputs, kMaxInputs);
  }
  for (uint32_t input = 0; input < op->num_inputs; ++input) SIGDCA_TRY(number(&op->back[input]));
  op->name_bytes = 0;
  if (kind->has_tensors) SIGDCA_TRY(name(op));
  return attrs(op);
}

sigdca_status GraphReader::name(RawOp *op) {
  SIGDCA_TRY(number(&op->name_bytes));
  SIGDCA_TRY(take(op->name_bytes, &op->name));
  uint32_t character = 0;
  for (size_t at = 0; at < op->name_bytes;) {
    if (!next_character(op->name, op->name_bytes, &at, &character)) {
      return context_.fail(SIGDCA_GRAPH_BYTES,
                           "graph: the name of operator %u is not UTF-8 at byte %zu", op->index,
                           at);
    }
  }
  return SIGDCA_OK;
}

sigdca_status GraphReader::attrs(RawOp *op) {
  uint32_t *next_number = op->numbers;
  double *next_real = op->reals;
  for (int index = 0; index < op->kind().num_attrs; ++index) {
    const AttrKind::Type type = op->kind().attrs[index].type;
    if (type == AttrKind::kFloat) {
      SIGDCA_TRY(real(next_real++));
      continue;
    }
    SIGDCA_TRY(number(next_number++));
    if (type == AttrKind::kPair) SIGDCA_TRY(number(next_number++));
  }
  return SIGDCA_OK;
}

// The names so far, to find one twice: a hash table, open addressing.
class Names {
 public:
  sigdca_status reserve(const Context &context, size_t count) {
    if (count == 0) return SIGDCA_OK;
    size_t size = 4;
    while (size < 2 * count) size *= 2;
    SIGDCA_TRY(slots_.allocate(context, size));
    for (uint32_t &slot : slots_) slot = 0;
    return SIGDCA_OK;
  }

  // False if it is there already. first: where it lies in `names`, ended by a zero byte.
  bool add(const char *names, uint32_t first) {
    const char *name = names + first;
    uint32_t hash = 2166136261u;  // FNV-1a
    for (const char *at = name; *at != '\0'; ++at)
      hash = (hash ^ static_cast<uint8_t>(*at)) * 16777619u;
    size_t place = hash & (slots_.size() - 1);
    for (; slots_[place] != 0; place = (place + 1) & (slots_.size() - 1)) {
      if (strcmp(names + slots_[place], name) == 0) return false;
    }
    slots_[place] = first;
    return true;
  }

 private:
  Array<uint32_t> slots_;  // 0: free. No name begins at 0: the empty one lies there
};

sigdca_status check_name(const Context &context, const RawOp &op) {
  if (!op.kind().has_tensors) return SIGDCA_OK;
  Text place;
  place.add("operator %u (%s)", op.index, op.kind().name);
  if (op.name_bytes == 0) {
    return context.fail(SIGDCA_OPERATOR, "%s: must have a name, got ''", place.get());
  }
  if (op.name_bytes > kMaxNameBytes) {
    return context.fail(SIGDCA_OPERATOR, "%s: name has %u bytes, limit %u", place.get(),
                        op.name_bytes, kMaxNameBytes);
  }
  bool has_control = false;
  uint32_t character = 0;
  for (size_t at = 0; at < op.name_bytes;) {
    if (!next_character(op.name, op.name_bytes, &at, &character)) return SIGDCA_GRAPH_BYTES;
    has_control |= character < 32 || (character >= 127 && character < 160);
  }
  if (!has_control) return SIGDCA_OK;
  const bool single = memchr(op.name, '\'', op.name_bytes) != nullptr;
  const char quote = single && memchr(op.name, '"', op.name_bytes) == nullptr ? '"' : '\'';
  Text name;
  name.add(quote);
  for (size_t at = 0; at < op.name_bytes;) {
    if (!next_character(op.name, op.name_bytes, &at, &character)) return SIGDCA_GRAPH_BYTES;
    add_escaped(&name, character, quote);
  }
  name.add(quote);
  return context.fail(SIGDCA_OPERATOR, "%s: name %s has a control character", place.get(),
                      name.get());
}

sigdca_status check_inputs(const Context &context, const RawOp &op) {
  if (op.num_inputs < op.kind().min_inputs) {
    return context.fail(SIGDCA_OPERATOR, "%s: must have %u..%u inputs, got ()", where(op).get(),
                        op.kind().min_inputs, op.kind().max_inputs);
  }
  for (uint32_t input = 0; input < op.num_inputs; ++input) {
    if (op.back[input] <= op.index) continue;
    return context.fail(SIGDCA_OPERATOR, "%s: input must be a value in 0..%u, got %lld",
                        where(op).get(), op.index,
                        static_cast<long long>(op.index) - op.back[input]);
  }
  return SIGDCA_OK;
}

void set_window(const uint32_t *numbers, bool dilated, Window *window) {
  for (int axis = 0; axis < 2; ++axis) {
    window->kernel[axis] = numbers[axis];
    window->stride[axis] = numbers[2 + axis];
    window->padding[axis] = numbers[4 + axis];
    window->dilation[axis] = dilated ? numbers[6 + axis] : 1;
  }
}

// The attributes, checked, in their places.
void set_attrs(const RawOp &raw, Op *op) {
  const uint32_t *numbers = raw.numbers;
  switch (op->code) {
    case OpCode::kConv:
      set_window(numbers + 1, true, &op->window);
      op->groups = numbers[9];
      op->has_bias = numbers[10] != 0;
      break;
    case OpCode::kFc:
      op->has_bias = numbers[1] != 0;
      break;
    case OpCode::kMaxPool:
    case OpCode::kAvgPool:
      set_window(numbers, false, &op->window);
      op->ceil = numbers[6] != 0;
      op->include_pad = op->code == OpCode::kAvgPool && numbers[7] != 0;
      break;
    case OpCode::kLrn:
      op->lrn_size = numbers[0];
      op->alpha = raw.reals[0];
      op->beta = raw.reals[1];
      op->k = raw.reals[2];
      break;
    case OpCode::kBatchNorm:
      op->eps = raw.reals[0];
      break;
    default:
      break;
  }
}

sigdca_status check_frame(const Context &context, const uint32_t *sizes, double scale,
                          uint32_t num_ops) {
  if (sizes[0] == 0 || sizes[1] == 0 || sizes[2] == 0) {
    return context.fail(SIGDCA_SHAPE,
                        "graph: input shape must be 3 sizes of at least 1, got (%u, %u, %u)",
                        sizes[0], sizes[1], sizes[2]);
  }
  SIGDCA_TRY(check_size(context, WideShape(sizes[0], sizes[1], sizes[2]), "graph", "input"));
  if (!isfinite(scale) || scale <= 0) {
    return context.fail(SIGDCA_OPERATOR, "graph: input scale must be a float above 0, got %s",
                        describe(scale).get());
  }
  if (num_ops == 0) {
    return context.fail(SIGDCA_LIMIT, "graph: must have 1..%u operators, got 0", kMaxOps);
  }
  return SIGDCA_OK;
}

// Gives the operator its tensors, and counts their weights.
sigdca_status number_tensors(const Context &context, Graph *graph, uint32_t index,
                             unsigned __int128 *total) {
  Op &op = graph->ops[index];
  op.first_tensor = -1;
  op.num_tensors = op.code == OpCode::kBatchNorm                                ? 4
                   : op.code == OpCode::kConv || op.code == OpCode::kFc ? 1 + op.has_bias
                                                                                : 0;
  if (op.num_tensors == 0) return SIGDCA_OK;
  op.first_tensor = static_cast<int32_t>(graph->num_tensors);
  graph->num_tensors += op.num_tensors;
  const Shape &taken = graph->shape_of(graph->inputs_of(op)[0]);
  for (uint32_t part = 0; part < op.num_tensors; ++part) {
    unsigned __int128 weights = op.output.channels;
    if (part == 0 && op.code == OpCode::kFc) weights *= taken.channels;
    if (part == 0 && op.code == OpCode::kConv) {
      weights *= taken.channels / op.groups;
      weights *= uint64_t{op.window.kernel[0]} * op.window.kernel[1];
    }
    *total += weights;
    if (*total > kMaxWeights) {
      return context.fail(SIGDCA_LIMIT, "layer '%s': %s weights up to here, limit %llu",
                          graph->name_of(op), describe(*total).get(), Wide{kMaxWeights});
    }
  }
  return SIGDCA_OK;
}

// What a graph section holds, counted before anything is allocated.
struct Counts {
  uint32_t ops;
  size_t inputs, names, name_bytes;
};

sigdca_status count(GraphReader reader, Counts *counts) {
  RawOp raw;
  for (uint32_t index = 0; index < counts->ops; ++index) {
    SIGDCA_TRY(reader.op(index, &raw));
    counts->inputs += raw.num_inputs;
    if (raw.name_bytes > 0) ++counts->names;
    // A longer name is refused before it is copied.
    if (raw.name_bytes <= kMaxNameBytes) counts->name_bytes += raw.name_bytes;
  }
  return reader.end();
}

sigdca_status read_ops(const Context &context, GraphReader reader, const Counts &counts,
                       Graph *graph) {
  Names seen;
  SIGDCA_TRY(graph->ops.allocate(context, counts.ops));
  SIGDCA_TRY(graph->inputs.allocate(context, counts.inputs));
  SIGDCA_TRY(graph->names.allocate(context, 1 + counts.name_bytes + counts.names));
  SIGDCA_TRY(seen.reserve(context, counts.names));
  graph->names[0] = '\0';
  uint32_t num_inputs = 0, name_end = 1;
  RawOp raw;
  for (uint32_t index = 0; index < counts.ops; ++index) {
    SIGDCA_TRY(reader.op(index, &raw));
    Op &op = graph->ops[index];
    op = Op{};
    op.code = static_cast<OpCode>(raw.code);
    SIGDCA_TRY(check_name(context, raw));
    SIGDCA_TRY(check_inputs(context, raw));
    SIGDCA_TRY(check_attrs(context, raw));
    if (raw.name_bytes > 0) {
      op.first_name = name_end;
      memcpy(graph->names.data() + name_end, raw.name, raw.name_bytes);
      name_end += raw.name_bytes + 1;
      graph->names[name_end - 1] = '\0';
      if (!seen.add(graph->names.data(), op.first_name)) {
        return context.fail(SIGDCA_OPERATOR, "%s: there is another layer of this name",
                            where(raw).get());
      }
    }
    op.num_inputs = raw.num_inputs;
    op.first_input = num_inputs;
    for (uint32_t input = 0; input < raw.num_inputs; ++input)
      graph->inputs[num_inputs++] = index - raw.back[input];
    set_attrs(raw, &op);
    SIGDCA_TRY(infer_shape(context, *graph, raw, op, &op.output));
  }
  return SIGDCA_OK;
}

}  // namespace

uint64_t num_weights(const Graph &graph, const Op &op) {
  const Shape &taken = graph.shape_of(graph.inputs_of(op)[0]);
  const uint64_t out = op.output.channels;
  switch (op.code) {
    case OpCode::kConv:
      return out * (taken.channels / op.groups) * op.window.kernel[0] * op.window.kernel[1];
    case OpCode::kFc: return out * taken.channels;
    case OpCode::kBatchNorm: return out;
    default: return 0;
  }
}

sigdca_status read_graph(const Context &context, const uint8_t *data, size_t bytes, Graph *graph) {
  GraphReader reader(context, data, bytes);
  uint32_t sizes[3];
  for (uint32_t &size : sizes) SIGDCA_TRY(reader.number(&size));
  SIGDCA_TRY(reader.real(&graph->input_scale));
  Counts counts{};
  SIGDCA_TRY(reader.number(&counts.ops));
  if (counts.ops > kMaxOps) {
    return context.fail(SIGDCA_GRAPH_BYTES, "graph: promises %u operators, limit %u", counts.ops,
                        kMaxOps);
  }
  // As the Python reader: all bytes first, then what they mean.
  SIGDCA_TRY(count(reader, &counts));
  SIGDCA_TRY(check_frame(context, sizes, graph->input_scale, counts.ops));
  graph->input.channels = sizes[0];
  graph->input.height = sizes[1];
  graph->input.width = sizes[2];
  SIGDCA_TRY(read_ops(context, reader, counts, graph));
  unsigned __int128 total = 0;
  for (uint32_t index = 0; index < counts.ops; ++index)
    SIGDCA_TRY(number_tensors(context, graph, index, &total));
  return SIGDCA_OK;
}

}  // namespace sigdca
