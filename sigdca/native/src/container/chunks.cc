#include "container/chunks.h"

#include "container/chunk_reader.h"
#include "container/list.h"

namespace sigdca {
namespace {

using Wide = unsigned long long;

constexpr uint32_t kChunkWeights = 1u << 22, kStructureBits = 4, kCountBits = 32;

// Lists weights as they come.
class ListSink {
 public:
  ListSink(const Context &context, Weights *weights) : context_(context), weights_(weights) {}

  sigdca_status open() {
    SIGDCA_TRY(weights_->row_start.allocate(context_, size_t{weights_->rows} + 1));
    weights_->row_start[0] = 0;
    return SIGDCA_OK;
  }

  // The next chunk begins so many weights behind the one before.
  void advance(uint64_t size) { base_ += size; }

  sigdca_status reserve(const Context &context, size_t count) {
    const size_t needed = placed_ + count;
    SIGDCA_TRY(extend(context, &weights_->codes, placed_, needed));
    return extend(context, &weights_->columns, placed_, needed);
  }

  void place(uint64_t position, uint32_t code) {
    const uint64_t at = base_ + position;
    while (at >= row_end()) close_row();
    weights_->codes[placed_] = static_cast<uint16_t>(code);
    weights_->columns[placed_++] = static_cast<uint32_t>(at - uint64_t{row_} * weights_->cols);
  }

  sigdca_status finish() {
    while (row_ < weights_->rows) close_row();
    SIGDCA_TRY(cut(context_, &weights_->codes, placed_));
    return cut(context_, &weights_->columns, placed_);
  }

 private:
  uint64_t row_end() const { return uint64_t{row_ + 1} * weights_->cols; }
  void close_row() { weights_->row_start[++row_] = placed_; }

  const Context &context_;
  Weights *weights_;
  size_t placed_ = 0;
  uint64_t base_ = 0;
  uint32_t row_ = 0;
};

// Frequencies lie in the head as one row of levels.
sigdca_status read_frequencies(const Context &context, ArithmeticDecoder *head, uint32_t alphabet,
                               const char *where, RansTable *table) {
  LevelModel model;
  SIGDCA_TRY(model.open(context, alphabet, 0, Limits{0, kScale}));
  int32_t line[2 + kRansAlphabet] = {};
  int32_t *const frequencies = line + model.front();
  bool within = true;
  model.code_row(head, frequencies, &within);
  if (!within) {
    return context.fail(SIGDCA_LEVEL, "%s: frequencies: a level is beyond its tensor's values",
                        where);
  }
  uint64_t total = 0;
  for (uint32_t symbol = 0; symbol < alphabet; ++symbol)
    total += static_cast<uint32_t>(frequencies[symbol]);
  if (total != kScale) {
    return context.fail(SIGDCA_FREQUENCY, "%s: frequencies add up to %llu, must be %u", where,
                        Wide{total}, kScale);
  }
  return table->open(context, frequencies, alphabet);
}

sigdca_status read_head(const Context &context, ArithmeticDecoder *decoder, Limits limits,
                        const char *where, RansHead *head) {
  const uint32_t num_values = limits.negative + limits.positive;
  if (num_values > kRansAlphabet) {
    return context.fail(SIGDCA_CODEBOOK, "%s: codebook of %u values, limit %u with rANS", where,
                        num_values, kRansAlphabet);
  }
  head->structure = decoder->plain(0, kStructureBits);
  if (head->structure > kMaxGapSymbolBits || head->structure == 1) {
    return context.fail(SIGDCA_GAP_BITS, "%s: symbols of %u bits, must be 2..8, or 0 for a map",
                        where, head->structure);
  }
  const uint32_t alphabet = head->structure == 0 ? kRansAlphabet : 1u << head->structure;
  SIGDCA_TRY(read_frequencies(context, decoder, alphabet, where, &head->places));
  return read_frequencies(context, decoder, num_values, where, &head->levels);
}

// A chunk with coder 4.
sigdca_status read_sparse_chunk(const Context &context, Bytes chunk, uint64_t size, Limits limits,
                                const char *where, ListSink *sink) {
  ArithmeticDecoder decoder(chunk.data, chunk.size);
  const uint32_t count = decoder.plain(0, kCountBits);
  if (count > size) {
    return context.fail(SIGDCA_SYMBOL_COUNT, "%s: promises %u weights, its chunk has %llu", where,
                        count, Wide{size});
  }
  SIGDCA_TRY(read_sparse(context, &decoder, count, size, limits, where, sink));
  Text text;
  text.add("%s: stream", where);
  return decoder.finish(context, text.get());
}

// A chunk's bytes.
sigdca_status next_chunk(const Context &context, Bytes *chunks, uint32_t number, const char *where,
                         Bytes *chunk) {
  Text text;
  text.add("%s: chunk %u", where, number);
  uint32_t bytes = 0;
  SIGDCA_TRY(read_varint(context, chunks, text.get(), &bytes));
  const size_t left = chunks->size - chunks->at;
  if (bytes > left) {
    return context.fail(SIGDCA_SECTION_LENGTH, "%s has %u bytes, %zu are left", text.get(), bytes,
                        left);
  }
  *chunk = Bytes{chunks->data + chunks->at, bytes};
  chunks->at += bytes;
  return SIGDCA_OK;
}

}  // namespace

sigdca_status read_chunks(const Context &context, ArithmeticDecoder *head, Bytes chunks,
                          bool is_rans, Limits limits, const char *where, Weights *weights) {
  RansHead rans;
  if (is_rans) SIGDCA_TRY(read_head(context, head, limits, where, &rans));
  const uint64_t rows_at_once = kChunkWeights / weights->cols;
  const uint64_t all = uint64_t{weights->rows} * weights->cols;
  const uint64_t step = uint64_t{weights->cols} * (rows_at_once > 0 ? rows_at_once : 1);
  const uint32_t count = static_cast<uint32_t>((all + step - 1) / step);
  const size_t first = chunks.at;
  Bytes chunk{};
  for (uint32_t number = 0; number < count; ++number)  // before any of them is read
    SIGDCA_TRY(next_chunk(context, &chunks, number, where, &chunk));
  if (chunks.at < chunks.size) {
    return context.fail(SIGDCA_SECTION_LENGTH, "%s: %zu bytes follow its last chunk", where,
                        chunks.size - chunks.at);
  }
  chunks.at = first;
  ListSink sink(context, weights);
  SIGDCA_TRY(sink.open());
  for (uint32_t number = 0; number < count; ++number) {
    SIGDCA_TRY(next_chunk(context, &chunks, number, where, &chunk));
    const uint64_t left = all - number * step, size = left < step ? left : step;
    SIGDCA_TRY(is_rans ? read_rans(context, rans, chunk, size, where, &sink)
                       : read_sparse_chunk(context, chunk, size, limits, where, &sink));
    sink.advance(size);
  }
  return sink.finish();
}

}  // namespace sigdca
