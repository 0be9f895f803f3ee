// A tensor from its sections; mirrors sigdca/codec/tensors.py.
#include "container/codebook.h"
#include "container/gaps.h"
#include "container/huffman.h"
#include "container/layers.h"
#include "container/text.h"
#include "container/varint.h"
#include "core/bytes.h"

namespace sigdca {
namespace {

using Wide = unsigned long long;

constexpr size_t kPiece = 4096;

// One tensor's sections.
struct Sections {
  const Section *codebook = nullptr, *indices = nullptr, *gaps = nullptr, *dense = nullptr;
};

Sections sections_of(const Model &model, const TensorInfo &tensor) {
  Sections found;
  for (uint32_t index = 0; index < tensor.num_sections; ++index) {
    const Section &section = model.sections[tensor.first_section + index];
    switch (section.kind) {
      case SectionKind::kCodebook: found.codebook = &section; break;
      case SectionKind::kIndices: found.indices = &section; break;
      case SectionKind::kGaps: found.gaps = &section; break;
      case SectionKind::kDense: found.dense = &section; break;
      case SectionKind::kGraph:
      case SectionKind::kMetadata:
      case SectionKind::kLayer: break;
    }
  }
  return found;
}

sigdca_status check_dense(const Context &context, const Section &section, uint64_t size,
                          const char *where) {
  if (section.bytes != 4 * size) {
    return context.fail(SIGDCA_SECTION_LENGTH, "%s: raw section has %u bytes, not %llu", where,
                        section.bytes, Wide{4 * size});
  }
  return check_values(context, section.data, static_cast<size_t>(size), where);
}

sigdca_status read_dense(const Context &context, const Section &section, const char *where,
                         Weights *weights) {
  const size_t size = size_t{weights->rows} * weights->cols;
  SIGDCA_TRY(check_dense(context, section, size, where));
  size_t num_nonzero = 0;
  for (size_t index = 0; index < size; ++index)
    num_nonzero += load<uint32_t>(section.data + 4 * index) != 0;
  SIGDCA_TRY(weights->values.allocate(context, num_nonzero));
  SIGDCA_TRY(weights->columns.allocate(context, num_nonzero));
  SIGDCA_TRY(weights->row_start.allocate(context, size_t{weights->rows} + 1));
  const uint8_t *at = section.data;
  size_t placed = 0;
  for (uint32_t row = 0; row < weights->rows; ++row) {
    weights->row_start[row] = placed;
    for (uint32_t column = 0; column < weights->cols; ++column, at += 4) {
      const float value = load<float>(at);
      if (value == 0) continue;
      weights->values[placed] = value;
      weights->columns[placed++] = column;
    }
  }
  weights->row_start[weights->rows] = placed;
  return SIGDCA_OK;
}

// Opens an index section's stream. size: the tensor's number of weights.
sigdca_status open_indices(const Context &context, const Section &section, size_t alphabet,
                           uint64_t size, bool has_gaps, const char *where, HuffmanStream *stream,
                           uint32_t *count) {
  Bytes bytes{section.data, section.bytes};
  SIGDCA_TRY(read_varint(context, &bytes, where, count));
  if (*count != size && !has_gaps) {
    return context.fail(SIGDCA_SYMBOL_COUNT,
                        "%s promises %u symbols, the tensor has %llu weights", where, *count,
                        Wide{size});
  }
  if (*count < 1 || *count > size) {
    return context.fail(SIGDCA_SYMBOL_COUNT, "%s promises %u symbols, must be 1..%llu", where,
                        *count, Wide{size});
  }
  return stream->open(context, bytes.data + bytes.at, bytes.size - bytes.at, *count,
                      static_cast<uint32_t>(alphabet), where);
}

// All codes of a stream, as they are.
sigdca_status read_codes(const Context &context, HuffmanStream *stream, size_t count,
                         const char *where, Array<uint16_t> *codes) {
  SIGDCA_TRY(codes->allocate(context, count));
  if (stream->is_single()) {
    for (uint16_t &code : *codes) code = stream->single();
    return SIGDCA_OK;
  }
  stream->take(codes->data(), count);
  return stream->finish(context, where);
}

// Lists every weight: rows without a gap.
sigdca_status list_all(const Context &context, Weights *weights) {
  const size_t size = size_t{weights->rows} * weights->cols;
  SIGDCA_TRY(weights->columns.allocate(context, size));
  SIGDCA_TRY(weights->row_start.allocate(context, size_t{weights->rows} + 1));
  uint32_t *columns = weights->columns.data();
  for (uint32_t row = 0; row < weights->rows; ++row) {
    weights->row_start[row] = uint64_t{row} * weights->cols;
    for (uint32_t column = 0; column < weights->cols; ++column) *columns++ = column;
  }
  weights->row_start[weights->rows] = size;
  return SIGDCA_OK;
}

// How many symbols of a stream are not `zero`; the stream is checked to its end.
sigdca_status count_nonzero(const Context &context, HuffmanStream *stream, uint64_t count,
                            uint16_t zero, const char *where, uint64_t *num_nonzero) {
  *num_nonzero = 0;
  if (stream->is_single()) {
    *num_nonzero = stream->single() == zero ? 0 : count;
    return SIGDCA_OK;
  }
  uint16_t piece[kPiece];
  for (uint64_t done = 0; done < count;) {
    const size_t wanted = count - done < kPiece ? static_cast<size_t>(count - done) : kPiece;
    const size_t got = stream->take(piece, wanted);
    for (size_t index = 0; index < got; ++index) *num_nonzero += piece[index] != zero;
    if (got < wanted) break;
    done += got;
  }
  return stream->finish(context, where);
}

// Lists the weights of a stream, an index for each, that are not `zero`, in two rounds: the first
// one counts them, so that no more memory is taken than they need.
sigdca_status read_with_zeros(const Context &context, HuffmanStream *stream, uint16_t zero,
                              const char *where, Weights *weights) {
  const uint64_t size = uint64_t{weights->rows} * weights->cols;
  uint64_t num_nonzero = 0;
  SIGDCA_TRY(count_nonzero(context, stream, size, zero, where, &num_nonzero));
  SIGDCA_TRY(weights->codes.allocate(context, static_cast<size_t>(num_nonzero)));
  SIGDCA_TRY(weights->columns.allocate(context, static_cast<size_t>(num_nonzero)));
  SIGDCA_TRY(weights->row_start.allocate(context, size_t{weights->rows} + 1));
  stream->rewind();
  uint16_t piece[kPiece];
  for (uint16_t &symbol : piece) symbol = stream->single();
  size_t placed = 0, at = kPiece;
  for (uint32_t row = 0; row < weights->rows; ++row) {
    weights->row_start[row] = placed;
    if (stream->is_single() && stream->single() == zero) continue;
    for (uint32_t column = 0; column < weights->cols; ++column, ++at) {
      if (at == kPiece) {
        at = 0;
        if (!stream->is_single()) stream->take(piece, kPiece);
      }
      const uint16_t symbol = piece[at];
      if (symbol == zero || placed == num_nonzero) continue;
      // The codebook loses its 0: those behind it move up.
      weights->codes[placed] = static_cast<uint16_t>(symbol - (symbol > zero));
      weights->columns[placed++] = column;
    }
  }
  weights->row_start[weights->rows] = placed;
  return SIGDCA_OK;
}

sigdca_status read_shared(const Context &context, const Sections &sections, const char *tensor,
                          Weights *weights) {
  const bool has_gaps = sections.gaps != nullptr;
  const uint64_t size = uint64_t{weights->rows} * weights->cols;
  Array<float> codebook;
  SIGDCA_TRY(read_codebook(context, *sections.codebook, has_gaps, tensor, &codebook));
  Text text;
  text.add("%s: index stream", tensor);
  const char *where = text.get();
  HuffmanStream stream;
  uint32_t count = 0;
  SIGDCA_TRY(open_indices(context, *sections.indices, codebook.size(), size, has_gaps, where,
                          &stream, &count));
  size_t zero = 0;
  while (zero < codebook.size() && codebook[zero] != 0) ++zero;
  if (zero < codebook.size()) {
    SIGDCA_TRY(read_with_zeros(context, &stream, static_cast<uint16_t>(zero), where, weights));
    SIGDCA_TRY(weights->codebook.allocate(context, codebook.size() - 1));
    for (size_t index = 0; index < weights->codebook.size(); ++index)
      weights->codebook[index] = codebook[index + (index >= zero)];
    return SIGDCA_OK;
  }
  weights->codebook.swap(codebook);
  // Codes that take no bits are not written out before the gaps have said that they are there.
  if (!stream.is_single())
    SIGDCA_TRY(read_codes(context, &stream, count, where, &weights->codes));
  if (has_gaps) {
    SIGDCA_TRY(read_gaps(context, *sections.gaps, count, tensor, weights));
  } else {
    SIGDCA_TRY(list_all(context, weights));
  }
  return stream.is_single() ? read_codes(context, &stream, count, where, &weights->codes)
                            : SIGDCA_OK;
}

sigdca_status read_rows(const Context &context, const Model &model, const TensorInfo &tensor,
                        Weights *weights) {
  if (model.version == 2) return read_member(context, model, tensor, weights);
  const Sections sections = sections_of(model, tensor);
  const Text where = describe_tensor(model, tensor);
  return sections.dense != nullptr
             ? read_dense(context, *sections.dense, where.get(), weights)
             : read_shared(context, sections, where.get(), weights);
}

}  // namespace

sigdca_status read_weights(const Context &context, const Model &model, uint32_t number,
                           Weights *weights) {
  const TensorInfo &tensor = model.tensors[number];
  *weights = Weights{};
  weights->rows = model.graph.ops[tensor.op].output.channels;
  weights->cols = static_cast<uint32_t>(tensor.weights / weights->rows);
  return read_rows(context, model, tensor, weights);
}

sigdca_status read_vector(const Context &context, const Model &model, uint32_t number,
                          Array<float> *values) {
  const TensorInfo &tensor = model.tensors[number];
  const size_t size = static_cast<size_t>(tensor.weights);
  const Section &first = model.sections[tensor.first_section];
  if (first.kind == SectionKind::kDense) {
    SIGDCA_TRY(check_dense(context, first, size, describe_tensor(model, tensor).get()));
    SIGDCA_TRY(values->allocate(context, size));
    memcpy(values->data(), first.data, first.bytes);
    return SIGDCA_OK;
  }
  Weights weights;
  weights.rows = 1;
  weights.cols = static_cast<uint32_t>(size);
  SIGDCA_TRY(read_rows(context, model, tensor, &weights));
  SIGDCA_TRY(values->allocate(context, size));
  for (float &value : *values) value = 0;
  for (size_t index = 0; index < weights.num_nonzero(); ++index)
    (*values)[weights.columns[index]] = weights.value(index);
  return SIGDCA_OK;
}

}  // namespace sigdca
