// A Huffman stream (SPEC.md): code lengths, then the codes of its symbols; mirrors
// sigdca/codec/huffman.py and bitstream.py.
#pragma once

#include "core/context.h"

namespace sigdca {

constexpr uint32_t kMaxAlphabet = 65536;

// Opened, then taken symbol by symbol in pieces of any size, then finished.
class HuffmanStream {
 public:
  // Reads the code lengths and checks that the stream's bits can hold `count` symbols (at least 1)
  // of an alphabet of 1..65536. `where` opens the messages.
  sigdca_status open(const Context &context, const uint8_t *data, size_t bytes, uint64_t count,
                     uint32_t alphabet, const char *where);

  // All symbols are the same one: they take no bits, and `take` is not for them.
  bool is_single() const { return is_single_; }
  uint16_t single() const { return single_; }

  // Takes the next `count` symbols into `out`; returns how many there were: fewer only at the end
  // of a stream that is too short. T is uint8_t (for alphabets up to 256) or uint16_t.
  template <class T>
  size_t take(T *out, size_t count);

  // Back to the first symbol.
  void rewind();

  // Whether all symbols were there, and nothing behind them.
  sigdca_status finish(const Context &context, const char *where) const;

 private:
  sigdca_status read_lengths(const Context &context, uint32_t alphabet, const char *where,
                             uint8_t *lengths);
  sigdca_status sort_symbols(const Context &context, uint32_t alphabet, const uint8_t *lengths);
  sigdca_status build_table(const Context &context);
  sigdca_status check_end(const Context &context, uint64_t end, const char *where) const;
  uint64_t bit() const { return 8 * static_cast<uint64_t>(next_ - data_) - available_; }
  uint64_t find_long(uint64_t window) const;
  template <bool kFast, class T>
  size_t take_some(T *out, size_t count);

  static constexpr int kMaxBits = 16;
  static constexpr int kTableBits = 11;  // 16 KiB of entries
  static constexpr uint32_t kTableSize = 1u << kTableBits;

  const uint8_t *data_ = nullptr, *end_ = nullptr;
  uint64_t count_ = 0, taken_ = 0;
  uint64_t start_bit_ = 0;  // of the first symbol
  bool is_single_ = false;
  uint16_t single_ = 0;

  // The bits to come, from the top down; `available_` of them are read from the bytes before
  // `next_`. Negative: as many were taken behind the end, as zeros.
  const uint8_t *next_ = nullptr;
  uint64_t window_ = 0;
  int64_t available_ = 0;

  // Canonical code: symbols in the order of their codes; of each length, the first one's place
  // there and its code, and the code behind the last, both shifted up to 16 bits.
  Array<uint16_t> symbols_;
  uint32_t first_place_[kMaxBits + 1] = {};
  uint32_t first_code_[kMaxBits + 1] = {};
  uint32_t end_code_[kMaxBits + 1] = {};
  int min_bits_ = 0, max_bits_ = 0;
  Array<uint64_t> table_;  // by the next kTableBits bits; see huffman.cc
};

}  // namespace sigdca
