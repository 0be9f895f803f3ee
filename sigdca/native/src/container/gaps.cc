#include "container/gaps.h"

#include "container/huffman.h"
#include "container/text.h"
#include "container/varint.h"

namespace sigdca {
namespace {

using Wide = unsigned long long;

constexpr size_t kPiece = 4096;
// The Python reader looks at the cursor when so many symbols are done; an error names it.
constexpr uint64_t kChunk = 1 << 18;

// Follows the gaps through rows and columns.
class Cursor {
 public:
  Cursor(Weights *weights, uint64_t size) : weights_(weights), size_(size) {
    weights_->row_start[0] = 0;
    row_end_ = weights->cols;
  }

  // Takes symbols. Once a weight would lie behind the tensor's end, or there is one more than
  // `columns` has room for, they are only counted.
  void take(const uint8_t *symbols, size_t count, uint8_t filler) {
    uint64_t zeros = 0, weights = 0;
    for (size_t index = 0; index < count; ++index) {
      zeros += symbols[index];
      weights += symbols[index] != filler;
    }
    const uint64_t end = cursor_ + zeros + weights;
    if (end <= size_ && placed_ + weights <= weights_->columns.size()) {
      place(symbols, count, filler);
    } else {
      placed_ += weights;
      cursor_ = end;
    }
    done_ += count;
    if (done_ % kChunk == 0) check();
  }

  // Symbols that are all the same and no filler.
  void take_same(uint8_t symbol, uint64_t count, uint8_t filler) {
    uint8_t symbols[kPiece];
    for (uint8_t &each : symbols) each = symbol;
    for (uint64_t done = 0; done < count; done += kPiece)
      take(symbols, count - done < kPiece ? static_cast<size_t>(count - done) : kPiece, filler);
  }

  // Behind the last symbol.
  void end() {
    check();
    Array<uint64_t> &starts = weights_->row_start;
    while (row_ < weights_->rows) starts[++row_] = placed_;
  }

  uint64_t placed() const { return placed_; }
  uint64_t overrun() const { return overrun_; }

 private:
  void check() {
    if (cursor_ > size_ && overrun_ == 0) overrun_ = cursor_;
  }

  void place(const uint8_t *symbols, size_t count, uint8_t filler) {
    uint32_t *columns = weights_->columns.data() + placed_;
    const uint64_t cols = weights_->cols;
    uint64_t cursor = cursor_, row_end = row_end_;
    for (size_t index = 0; index < count; ++index) {
      cursor += symbols[index];
      if (symbols[index] == filler) continue;
      while (__builtin_expect(cursor >= row_end, 0)) {
        weights_->row_start[++row_] =
            static_cast<uint64_t>(columns - weights_->columns.data());
        row_end += cols;
      }
      *columns++ = static_cast<uint32_t>(cursor - (row_end - cols));
      ++cursor;
    }
    placed_ = static_cast<uint64_t>(columns - weights_->columns.data());
    cursor_ = cursor;
    row_end_ = row_end;
  }

  Weights *weights_;
  uint64_t size_;
  uint64_t cursor_ = 0, placed_ = 0, done_ = 0, row_ = 0, row_end_ = 0;
  uint64_t overrun_ = 0;  // 0: none
};

sigdca_status fail_placed(const Context &context, uint64_t placed, uint64_t expected,
                          const char *where) {
  return context.fail(SIGDCA_SYMBOL_COUNT,
                      "%s places %llu weights, index stream has %llu", where, Wide{placed},
                      Wide{expected});
}

}  // namespace

sigdca_status read_gaps(const Context &context, const Section &section, uint64_t expected,
                        const char *tensor, Weights *weights) {
  Text where;
  where.add("%s: gap stream", tensor);
  const uint64_t size = uint64_t{weights->rows} * weights->cols;
  Bytes bytes{section.data, section.bytes};
  uint32_t count = 0;
  SIGDCA_TRY(read_varint(context, &bytes, where.get(), &count));
  if (count < expected || count > size) {
    return context.fail(SIGDCA_SYMBOL_COUNT, "%s promises %u symbols, must be %llu..%llu",
                        where.get(), count, Wide{expected}, Wide{size});
  }
  const unsigned width = bytes.at < bytes.size ? bytes.data[bytes.at] : 0;
  if (width < 2 || width > 8) {
    return context.fail(SIGDCA_GAP_BITS, "%s: symbols of %u bits, must be 2..8", where.get(),
                        width);
  }
  ++bytes.at;
  const uint8_t filler = static_cast<uint8_t>((1u << width) - 1);
  HuffmanStream stream;
  SIGDCA_TRY(stream.open(context, bytes.data + bytes.at, bytes.size - bytes.at, count, 1u << width,
                         where.get()));
  if (stream.is_single()) {
    const uint64_t placed = stream.single() == filler ? 0 : count;
    if (placed != expected) return fail_placed(context, placed, expected, where.get());
  }
  SIGDCA_TRY(weights->columns.allocate(context, static_cast<size_t>(expected)));
  SIGDCA_TRY(weights->row_start.allocate(context, size_t{weights->rows} + 1));
  Cursor cursor(weights, size);
  uint8_t symbols[kPiece];
  uint8_t last = 0;
  if (stream.is_single()) {
    cursor.take_same(static_cast<uint8_t>(stream.single()), count, filler);
  } else {
    for (uint64_t done = 0; done < count;) {
      const size_t wanted = count - done < kPiece ? static_cast<size_t>(count - done) : kPiece;
      const size_t got = stream.take(symbols, wanted);
      if (got < wanted) break;
      cursor.take(symbols, got, filler);
      last = symbols[got - 1];
      done += got;
    }
    SIGDCA_TRY(stream.finish(context, where.get()));
  }
  cursor.end();
  if (cursor.placed() != expected)
    return fail_placed(context, cursor.placed(), expected, where.get());
  if (last == filler) {
    return context.fail(SIGDCA_GAP_END, "%s: symbol %u, the last one, is a filler", where.get(),
                        count - 1);
  }
  if (cursor.overrun() > 0) {
    return context.fail(SIGDCA_GAP_OVERRUN, "%s leads to weight %llu, the last is %llu",
                        where.get(), Wide{cursor.overrun() - 1}, Wide{size - 1});
  }
  return SIGDCA_OK;
}

}  // namespace sigdca
