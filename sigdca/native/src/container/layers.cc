#include "container/layers.h"

#include <math.h>
#include <string.h>

#include "container/chunks.h"
#include "container/codebook.h"
#include "container/list.h"
#include "container/text.h"
#include "container/varint.h"
#include "core/bytes.h"

namespace sigdca {
namespace {

using Wide = unsigned long long;

constexpr uint32_t kMaxCentroids = 65535;
constexpr uint32_t kGridBits = 16;

enum class Form : uint32_t { kZeros = 0, kRaw = 1, kGrid = 2, kCodebook = 3 };

uint32_t stride_of(const Graph &graph, const TensorInfo &tensor) {
  const Op &op = graph.ops[tensor.op];
  if (tensor.part != 0) return 0;
  if (op.code == OpCode::kConv) return op.window.kernel[1] > 1 ? op.window.kernel[1] : 0;
  if (op.code != OpCode::kFc) return 0;
  const uint32_t taken = graph.inputs_of(op)[0];
  if (taken == 0 || graph.ops[taken - 1].code != OpCode::kFlatten) return 0;
  const Shape &image = graph.shape_of(graph.inputs_of(graph.ops[taken - 1])[0]);
  return !image.flat && image.width > 1 ? image.width : 0;
}

// Two numbers below 2^17: five bits say how many bits each has.
Limits read_limits(ArithmeticDecoder *decoder) {
  const auto number = [decoder] {
    const uint32_t bits = decoder->plain(0, 5);
    return decoder->plain(0, bits < 17 ? bits : 17);
  };
  Limits limits;
  limits.negative = number();
  limits.positive = number();
  return limits;
}

sigdca_status read_grid(const Context &context, uint32_t upper, Limits limits, const char *where,
                        Array<float> *values) {
  const uint32_t bits = upper << 16;
  float step;
  memcpy(&step, &bits, sizeof step);
  if (!(isfinite(step) && step > 0)) {
    return context.fail(SIGDCA_CODEBOOK, "%s: grid's step is %s, must be above 0 and finite",
                        where, describe(static_cast<double>(step)).get());
  }
  SIGDCA_TRY(values->allocate(context, limits.negative + limits.positive));
  float *value = values->data();
  const auto place = [&](double level) { *value++ = static_cast<float>(level * step); };
  for (uint32_t level = limits.negative; level > 0; --level) place(-static_cast<double>(level));
  for (uint32_t level = 1; level <= limits.positive; ++level) place(level);
  if (isfinite((*values)[0]) && isfinite((*values)[values->size() - 1])) return SIGDCA_OK;
  return context.fail(SIGDCA_VALUE_RANGE, "%s: %u steps of %s are not finite", where,
                      limits.negative > limits.positive ? limits.negative : limits.positive,
                      describe(static_cast<double>(step)).get());
}

sigdca_status read_values(const Context &context, ArithmeticDecoder *decoder, size_t count,
                          const char *where, Array<float> *values) {
  SIGDCA_TRY(values->allocate(context, count));
  const uint8_t *const data = reinterpret_cast<const uint8_t *>(values->data());
  for (size_t index = 0; index < count; ++index) {
    const uint32_t bits = decoder->plain(0, 32);
    memcpy(&(*values)[index], &bits, sizeof bits);
    // At once: a few bytes may promise gigabytes of these.
    if (is_wrong_value(bits)) return check_values(context, data, index + 1, where);
  }
  return SIGDCA_OK;
}

sigdca_status read_codebook(const Context &context, ArithmeticDecoder *decoder, Limits limits,
                            const char *where, Array<float> *values) {
  Text place;
  place.add("%s: codebook", where);
  SIGDCA_TRY(
      read_values(context, decoder, limits.negative + limits.positive, place.get(), values));
  bool right = true;
  for (size_t index = 0; index < values->size(); ++index) {
    const float value = (*values)[index];
    right &= index < limits.negative ? value < 0 : value > 0;
    if (index > 0) right &= value > (*values)[index - 1];
  }
  if (right) return SIGDCA_OK;
  return context.fail(SIGDCA_CODEBOOK, "%s: codebook must ascend, %u values below 0 first", where,
                      limits.negative);
}

// Reads the levels and, unless `weights` is null, lists those that are not zero.
sigdca_status read_levels(const Context &context, ArithmeticDecoder *decoder, uint32_t rows,
                          uint32_t columns, uint32_t stride, Limits limits, const char *where,
                          Weights *weights) {
  LevelModel model;
  SIGDCA_TRY(model.open(context, columns, stride, limits));
  Array<int32_t> buffer;
  SIGDCA_TRY(buffer.allocate(context, size_t{model.front()} + columns));
  memset(buffer.data(), 0, buffer.bytes());
  int32_t *const line = buffer.data() + model.front();
  if (weights != nullptr) SIGDCA_TRY(weights->row_start.allocate(context, size_t{rows} + 1));
  size_t placed = 0;
  for (uint32_t row = 0; row < rows; ++row) {
    if (weights != nullptr) weights->row_start[row] = placed;
    bool within = true;
    if (!model.code_row(decoder, line, &within)) continue;
    if (!within)
      return context.fail(SIGDCA_LEVEL, "%s: a level is beyond its tensor's values", where);
    for (uint32_t column = 0; column < columns; ++column) {
      const int32_t level = line[column];
      if (level == 0) continue;
      line[column] = 0;
      if (weights == nullptr) continue;
      const int32_t code = static_cast<int32_t>(limits.negative) + level - (level > 0);
      SIGDCA_TRY(append(context, &weights->codes, placed, static_cast<uint16_t>(code)));
      SIGDCA_TRY(append(context, &weights->columns, placed, column));
      ++placed;
    }
  }
  if (weights == nullptr) return SIGDCA_OK;
  weights->row_start[rows] = placed;
  SIGDCA_TRY(cut(context, &weights->codes, placed));
  return cut(context, &weights->columns, placed);
}

// Lists the values that are not zero.
sigdca_status list_values(const Context &context, const float *values, Weights *weights) {
  SIGDCA_TRY(weights->row_start.allocate(context, size_t{weights->rows} + 1));
  const size_t size = size_t{weights->rows} * weights->cols;
  size_t count = 0, placed = 0;
  for (size_t index = 0; index < size; ++index) count += values[index] != 0;
  SIGDCA_TRY(weights->values.allocate(context, count));
  SIGDCA_TRY(weights->columns.allocate(context, count));
  for (uint32_t row = 0; row < weights->rows; ++row) {
    weights->row_start[row] = placed;
    for (uint32_t column = 0; column < weights->cols; ++column, ++values) {
      if (*values == 0) continue;
      weights->values[placed] = *values;
      weights->columns[placed++] = column;
    }
  }
  weights->row_start[weights->rows] = placed;
  return SIGDCA_OK;
}

sigdca_status list_nothing(const Context &context, Weights *weights) {
  SIGDCA_TRY(weights->row_start.allocate(context, size_t{weights->rows} + 1));
  for (uint64_t &start : weights->row_start) start = 0;
  return SIGDCA_OK;
}

uint32_t rows_of(const Model &model, const TensorInfo &tensor) {
  const Op &op = model.graph.ops[tensor.op];
  return tensor.part == 0 && op.code != OpCode::kBatchNorm ? op.output.channels : 1;
}

// A tensor's values; for a raw one those of its weights.
struct Values {
  Form form = Form::kZeros;
  Limits limits;
  Array<float> values;
};

sigdca_status read_values_of(const Context &context, ArithmeticDecoder *decoder,
                             const TensorInfo &tensor, const char *where, Values *found) {
  found->form = static_cast<Form>(decoder->plain(0, 2));
  if (found->form == Form::kZeros) return SIGDCA_OK;
  if (found->form == Form::kRaw) {
    return read_values(context, decoder, static_cast<size_t>(tensor.weights), where,
                       &found->values);
  }
  const uint32_t upper = found->form == Form::kGrid ? decoder->plain(0, kGridBits) : 0;
  const Limits limits = found->limits = read_limits(decoder);
  const uint32_t count = limits.negative + limits.positive;
  if (count < 1 || count > kMaxCentroids) {
    return context.fail(SIGDCA_CODEBOOK, "%s: codebook of %u values, must be 1..%u", where, count,
                        kMaxCentroids);
  }
  if (found->form == Form::kGrid)
    return read_grid(context, upper, limits, where, &found->values);
  return read_codebook(context, decoder, limits, where, &found->values);
}

// Values that no weight takes are as none: kernels know no codebook without weights.
void keep_values(Values *found, Weights *weights) {
  if (weights != nullptr && weights->num_nonzero() > 0) weights->codebook.swap(found->values);
}

// Reads the next tensor of a stream; `weights` is null for one that is only passed.
sigdca_status read_tensor(const Context &context, ArithmeticDecoder *decoder, const Model &model,
                          const TensorInfo &tensor, Weights *weights) {
  const Text text = describe_tensor(model, tensor);
  const char *const where = text.get();
  Values found;
  SIGDCA_TRY(read_values_of(context, decoder, tensor, where, &found));
  if (found.form == Form::kZeros)
    return weights == nullptr ? SIGDCA_OK : list_nothing(context, weights);
  if (found.form == Form::kRaw)
    return weights == nullptr ? SIGDCA_OK : list_values(context, found.values.data(), weights);
  const uint32_t rows = rows_of(model, tensor);
  SIGDCA_TRY(read_levels(context, decoder, rows, static_cast<uint32_t>(tensor.weights / rows),
                         stride_of(model.graph, tensor), found.limits, where, weights));
  keep_values(&found, weights);
  return SIGDCA_OK;
}

// Reads a weight whose values end a section's head and whose levels lie behind it.
sigdca_status read_chunked(const Context &context, ArithmeticDecoder *head, Bytes chunks,
                           bool is_rans, const Model &model, const TensorInfo &tensor,
                           Weights *weights) {
  const Text text = describe_tensor(model, tensor);
  const char *const where = text.get();
  Values found;
  SIGDCA_TRY(read_values_of(context, head, tensor, where, &found));
  if (found.form == Form::kZeros || found.form == Form::kRaw) {
    return context.fail(SIGDCA_CODEBOOK, "%s: codebook of 0 values, must be 1..%u", where,
                        kMaxCentroids);
  }
  SIGDCA_TRY(read_chunks(context, head, chunks, is_rans, found.limits, where, weights));
  keep_values(&found, weights);
  return SIGDCA_OK;
}

sigdca_status read_raw(const Context &context, const Model &model, const TensorInfo &tensor,
                       const Section &section, Weights *weights) {
  const Op &op = model.graph.ops[tensor.op];
  const TensorInfo *const members = &model.tensors[static_cast<size_t>(op.first_tensor)];
  uint64_t size = 0, before = 0, at = 0;
  for (uint32_t part = 0; part < op.num_tensors; ++part) size += 4 * members[part].weights;
  if (section.bytes != size) {
    return context.fail(SIGDCA_SECTION_LENGTH, "layer '%s': raw section has %u bytes, not %llu",
                        model.graph.name_of(op), section.bytes, Wide{size});
  }
  for (uint32_t number = 1; number <= op.num_tensors; ++number) {  // the weight lies last
    const TensorInfo &member = members[number < op.num_tensors ? number : 0];
    if (member.part == tensor.part) before = at;
    SIGDCA_TRY(check_values(context, section.data + at, static_cast<size_t>(member.weights),
                            describe_tensor(model, member).get()));
    at += 4 * member.weights;
  }
  const uint8_t *const data = section.data + before;
  const size_t count = static_cast<size_t>(tensor.weights);
  Array<float> values;
  SIGDCA_TRY(values.allocate(context, count));
  memcpy(values.data(), data, 4 * count);
  return list_values(context, values.data(), weights);
}

}  // namespace

sigdca_status read_member(const Context &context, const Model &model, const TensorInfo &tensor,
                          Weights *weights) {
  const Section &section = model.sections[tensor.first_section];
  if (section.coder == SectionCoder::kRaw)
    return read_raw(context, model, tensor, section, weights);
  const Op &op = model.graph.ops[tensor.op];
  const bool is_whole = section.coder == SectionCoder::kArithmetic;
  Bytes stream{section.data, section.bytes}, chunks{};
  Text where;
  where.add("layer '%s': %s", model.graph.name_of(op), is_whole ? "stream" : "head");
  if (!is_whole) {
    uint32_t bytes = 0;
    SIGDCA_TRY(read_varint(context, &stream, where.get(), &bytes));
    const size_t left = stream.size - stream.at;
    if (bytes > left) {
      return context.fail(SIGDCA_SECTION_LENGTH, "%s has %u bytes, %zu are left", where.get(),
                          bytes, left);
    }
    stream = Bytes{stream.data + stream.at, bytes};
    chunks = Bytes{stream.data + bytes, left - bytes};
  }
  ArithmeticDecoder decoder(stream.data, stream.size);
  const TensorInfo *const members = &model.tensors[static_cast<size_t>(op.first_tensor)];
  const uint32_t end = tensor.part == 0 ? op.num_tensors : tensor.part;  // the weight lies last
  for (uint32_t part = 1; part < end; ++part)
    SIGDCA_TRY(read_tensor(context, &decoder, model, members[part], nullptr));
  if (tensor.part == 0 && !is_whole) {
    SIGDCA_TRY(read_chunked(context, &decoder, chunks, section.coder == SectionCoder::kRans, model,
                            tensor, weights));
  } else {
    SIGDCA_TRY(read_tensor(context, &decoder, model, tensor, weights));
  }
  return tensor.part == 0 ? decoder.finish(context, where.get()) : SIGDCA_OK;
}

}  // namespace sigdca
