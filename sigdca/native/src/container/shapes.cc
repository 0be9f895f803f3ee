#include "container/shapes.h"

namespace sigdca {
namespace {

using Wide = unsigned long long;

Text describe(const WideShape &shape) {
  Text text;
  text.add(shape.flat ? "[%llu]" : "[%llu, %llu, %llu]", Wide{shape.sizes[0]},
           Wide{shape.sizes[1]}, Wide{shape.sizes[2]});
  return text;
}

Text describe(const Shape &shape) { return describe(WideShape(shape)); }

struct Inference {
  const Context &context;
  const RawOp &raw;
  const Op &op;
  Shape taken;  // the first input's

  sigdca_status need_image() const {
    if (!taken.flat) return SIGDCA_OK;
    return context.fail(SIGDCA_SHAPE, "%s: input must be [channels, height, width], got %s",
                        where(raw).get(), describe(taken).get());
  }

  // How many places a window has on each axis; torch's rounding, for `ceil` too.
  sigdca_status slide(const uint32_t *reach, WideShape *shape) const {
    const Window &window = op.window;
    const uint64_t size[2] = {taken.height, taken.width};
    const uint64_t padded[2] = {size[0] + 2 * uint64_t{window.padding[0]},
                                size[1] + 2 * uint64_t{window.padding[1]}};
    SIGDCA_TRY(check_size(context, WideShape(taken.channels, padded[0], padded[1]),
                          where(raw).get(), "padded input"));
    for (int axis = 0; axis < 2; ++axis) {
      if (padded[axis] < reach[axis]) {
        return context.fail(SIGDCA_SHAPE, "%s: window of %u is larger than its padded input, %llu",
                            where(raw).get(), reach[axis], Wide{padded[axis]});
      }
      const uint64_t span = padded[axis] - reach[axis], stride = window.stride[axis];
      uint64_t places = span / stride + 1;
      // A rounded-up last window must begin inside the input or the padding before it.
      const bool begins_inside = places * stride < size[axis] + window.padding[axis];
      if (op.ceil && span % stride != 0 && begins_inside) ++places;
      shape->sizes[1 + axis] = places;
    }
    return SIGDCA_OK;
  }

  sigdca_status conv(WideShape *shape) const {
    SIGDCA_TRY(need_image());
    const uint32_t out = raw.numbers[0];
    if (taken.channels % op.groups != 0 || out % op.groups != 0) {
      return context.fail(SIGDCA_SHAPE,
                          "%s: %u groups must divide %u input and %u output channels",
                          where(raw).get(), op.groups, taken.channels, out);
    }
    shape->sizes[0] = out;
    const uint32_t reach[2] = {op.window.dilation[0] * (op.window.kernel[0] - 1) + 1,
                               op.window.dilation[1] * (op.window.kernel[1] - 1) + 1};
    return slide(reach, shape);
  }

  sigdca_status pool(WideShape *shape) const {
    SIGDCA_TRY(need_image());
    for (int axis = 0; axis < 2; ++axis) {
      if (2 * op.window.padding[axis] > op.window.kernel[axis]) {
        return context.fail(SIGDCA_SHAPE, "%s: padding %u exceeds half of kernel %u",
                            where(raw).get(), op.window.padding[axis], op.window.kernel[axis]);
      }
    }
    return slide(op.window.kernel, shape);
  }

  sigdca_status fc(WideShape *shape) const {
    if (!taken.flat) {
      return context.fail(SIGDCA_SHAPE, "%s: input must be flat, got %s", where(raw).get(),
                          describe(taken).get());
    }
    shape->sizes[0] = raw.numbers[0];
    return SIGDCA_OK;
  }

  sigdca_status add(const Graph &graph) const {
    const Shape &other = graph.shape_of(graph.inputs_of(op)[1]);
    if (taken.flat == other.flat && taken.channels == other.channels &&
        taken.height == other.height && taken.width == other.width)
      return SIGDCA_OK;
    return context.fail(SIGDCA_SHAPE, "%s: cannot add %s and %s", where(raw).get(),
                        describe(taken).get(), describe(other).get());
  }

  sigdca_status concat(const Graph &graph, WideShape *shape) const {
    uint64_t channels = 0;
    for (uint32_t index = 0; index < op.num_inputs; ++index) {
      const Shape &other = graph.shape_of(graph.inputs_of(op)[index]);
      if (other.flat != taken.flat || other.height != taken.height || other.width != taken.width) {
        return context.fail(SIGDCA_SHAPE, "%s: cannot join %s and %s", where(raw).get(),
                            describe(taken).get(), describe(other).get());
      }
      channels += other.channels;
    }
    shape->sizes[0] = channels;
    return SIGDCA_OK;
  }

  sigdca_status infer(const Graph &graph, WideShape *shape) const {
    switch (op.code) {
      case OpCode::kConv: return conv(shape);
      case OpCode::kFc: return fc(shape);
      case OpCode::kMaxPool:
      case OpCode::kAvgPool: return pool(shape);
      case OpCode::kLrn:
      case OpCode::kBatchNorm: return need_image();
      case OpCode::kGlobalAvgPool:
        SIGDCA_TRY(need_image());
        *shape = WideShape(taken.channels, 1, 1);
        return SIGDCA_OK;
      case OpCode::kFlatten:
        *shape = WideShape(taken.values(), 1, 1);
        shape->flat = true;
        return SIGDCA_OK;
      case OpCode::kAdd: return add(graph);
      case OpCode::kConcat: return concat(graph, shape);
      case OpCode::kRelu:
      case OpCode::kRelu6:
      case OpCode::kSoftmax: break;
    }
    return SIGDCA_OK;
  }
};

}  // namespace

sigdca_status check_size(const Context &context, const WideShape &shape, const char *where,
                         const char *part) {
  // Each size is below 2^40, but for the network's input all are below 2^32.
  const unsigned __int128 plane = static_cast<unsigned __int128>(shape.sizes[1]) * shape.sizes[2];
  const unsigned __int128 values = plane * shape.sizes[0];
  if (values <= kMaxValues) return SIGDCA_OK;
  return context.fail(SIGDCA_LIMIT, "%s: %s %s has %s values, limit %llu", where, part,
                      describe(shape).get(), describe(values).get(), Wide{kMaxValues});
}

sigdca_status infer_shape(const Context &context, const Graph &graph, const RawOp &raw,
                          const Op &op, Shape *shape) {
  const Inference inference{context, raw, op, graph.shape_of(graph.inputs_of(op)[0])};
  WideShape wide(inference.taken);
  SIGDCA_TRY(inference.infer(graph, &wide));
  SIGDCA_TRY(check_size(context, wide, where(raw).get(), "output"));
  shape->channels = static_cast<uint32_t>(wide.sizes[0]);
  shape->height = static_cast<uint32_t>(wide.sizes[1]);
  shape->width = static_cast<uint32_t>(wide.sizes[2]);
  shape->flat = wide.flat;
  return SIGDCA_OK;
}

}  // namespace sigdca
