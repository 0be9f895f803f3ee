#include "container/huffman.h"

#include "core/bytes.h"

namespace sigdca {
namespace {

using Wide = unsigned long long;

// An entry of the table says what begins with the bits that it stands for: up to three symbols that
// lie whole in them. From the lowest bit up: 8 bits, the bits of all its symbols; 2, how many they
// are (0: a code longer than the table's bits begins here); 6, the bits of the first one; then
// three symbols of 16 bits.
constexpr unsigned kMostSymbols = 3;

unsigned bits_of(uint64_t entry) { return entry & 255; }
unsigned symbols_of(uint64_t entry) { return entry >> 8 & 3; }
unsigned first_bits_of(uint64_t entry) { return entry >> 10 & 63; }
uint64_t first_symbol_of(uint64_t entry) { return entry >> 16 & 0xFFFF; }

uint64_t make_entry(uint16_t symbol, unsigned bits) {
  return bits | 1u << 8 | bits << 10 | uint64_t{symbol} << 16;
}

// The entry with `other`'s first symbol behind its own.
uint64_t append(uint64_t entry, uint64_t other) {
  const unsigned place = 16 * symbols_of(entry) + 16;
  return (entry | first_symbol_of(other) << place) + first_bits_of(other) + (1u << 8);
}

template <class T>
void store_symbols(uint64_t entry, T *out) {
  out[0] = static_cast<T>(entry >> 16);
  out[1] = static_cast<T>(entry >> 32);
  out[2] = static_cast<T>(entry >> 48);
}

// Single bits, from each byte's top bit down.
struct BitReader {
  const uint8_t *data;
  uint64_t end;
  uint64_t at = 0;

  // -1 behind the end.
  int next() {
    if (at >= end) return -1;
    const int bit = data[at / 8] >> (7 - at % 8) & 1;
    ++at;
    return bit;
  }
};

}  // namespace

sigdca_status HuffmanStream::open(const Context &context, const uint8_t *data, size_t bytes,
                                  uint64_t count, uint32_t alphabet, const char *where) {
  data_ = data;
  end_ = data + bytes;
  count_ = count;
  Array<uint8_t> lengths;
  SIGDCA_TRY(lengths.allocate(context, alphabet));
  SIGDCA_TRY(read_lengths(context, alphabet, where, lengths.data()));
  if (is_single_) return check_end(context, start_bit_, where);
  const uint64_t num_bits = 8 * static_cast<uint64_t>(bytes);
  const uint64_t least = start_bit_ + count * min_bits_;
  if (least > num_bits) {
    return context.fail(SIGDCA_STREAM_END,
                        "%s ends at bit %llu, its %llu symbols need at least %llu", where,
                        Wide{num_bits}, Wide{count}, Wide{least});
  }
  SIGDCA_TRY(sort_symbols(context, alphabet, lengths.data()));
  return build_table(context);
}

sigdca_status HuffmanStream::read_lengths(const Context &context, uint32_t alphabet,
                                          const char *where, uint8_t *lengths) {
  BitReader bits{data_, 8 * static_cast<uint64_t>(end_ - data_)};
  int previous = 4, room = kMaxAlphabet;
  uint32_t used = 0;
  min_bits_ = kMaxBits + 1;
  max_bits_ = 0;
  for (uint32_t symbol = 0; symbol < alphabet; ++symbol) {
    int ones = 0, bit = 1;
    while (ones < 4 && (bit = bits.next()) == 1) ++ones;
    int absolute = 0;
    for (int index = 0; ones == 4 && bit >= 0 && index < 4; ++index) {
      bit = bits.next();
      absolute = absolute << 1 | (bit & 1);
    }
    if (bit < 0) {
      return context.fail(SIGDCA_STREAM_END, "%s ends at bit %llu, within its code lengths", where,
                          Wide{bits.at});
    }
    lengths[symbol] = 0;
    if (ones == 3) continue;
    if (ones == 4) previous = absolute + 1;
    if (ones == 1) ++previous;
    if (ones == 2) --previous;
    if (previous < 1 || previous > kMaxBits) {
      return context.fail(SIGDCA_CODE_TABLE, "%s: symbol %u has a code of %d bits, must be 1..%d",
                          where, symbol, previous, kMaxBits);
    }
    lengths[symbol] = static_cast<uint8_t>(previous);
    if (previous < min_bits_) min_bits_ = previous;
    if (previous > max_bits_) max_bits_ = previous;
    single_ = static_cast<uint16_t>(symbol);
    ++used;
    room -= kMaxAlphabet >> previous;
    if (room < 0) {
      return context.fail(SIGDCA_CODE_TABLE, "%s: code lengths are over-subscribed at symbol %u",
                          where, symbol);
    }
  }
  is_single_ = used == 1 && max_bits_ == 1;
  if (room > 0 && !is_single_) {
    return context.fail(SIGDCA_CODE_TABLE,
                        "%s: code lengths are under-subscribed, %d of %u parts are free", where,
                        room, kMaxAlphabet);
  }
  start_bit_ = bits.at;
  rewind();
  return SIGDCA_OK;
}

void HuffmanStream::rewind() {
  next_ = data_ + start_bit_ / 8;
  taken_ = 0;
  window_ = 0;
  available_ = 0;
  const uint64_t within = start_bit_ % 8;
  if (within == 0) return;
  window_ = uint64_t{*next_++} << (56 + within);
  available_ = 8 - static_cast<int64_t>(within);
}

sigdca_status HuffmanStream::sort_symbols(const Context &context, uint32_t alphabet,
                                          const uint8_t *lengths) {
  uint32_t counts[kMaxBits + 1] = {};
  for (uint32_t symbol = 0; symbol < alphabet; ++symbol) ++counts[lengths[symbol]];
  SIGDCA_TRY(symbols_.allocate(context, alphabet - counts[0]));
  uint32_t place = 0, code = 0;
  uint32_t next_place[kMaxBits + 1] = {};
  for (int bits = 1; bits <= kMaxBits; ++bits) {
    first_place_[bits] = next_place[bits] = place;
    first_code_[bits] = code;
    place += counts[bits];
    code += counts[bits] << (kMaxBits - bits);
    end_code_[bits] = code;
  }
  for (uint32_t symbol = 0; symbol < alphabet; ++symbol) {
    if (lengths[symbol] != 0)
      symbols_[next_place[lengths[symbol]]++] = static_cast<uint16_t>(symbol);
  }
  return SIGDCA_OK;
}

sigdca_status HuffmanStream::build_table(const Context &context) {
  SIGDCA_TRY(table_.allocate(context, kTableSize));
  uint32_t at = 0;
  for (int bits = min_bits_; bits <= kTableBits; ++bits) {
    const uint32_t num = (end_code_[bits] - first_code_[bits]) >> (kMaxBits - bits);
    for (uint32_t index = 0; index < num; ++index) {
      const uint64_t entry = make_entry(symbols_[first_place_[bits] + index], bits);
      for (const uint32_t end = at + (kTableSize >> bits); at < end; ++at) table_[at] = entry;
    }
  }
  while (at < kTableSize) table_[at++] = 0;
  // Where more symbols fit into the bits behind the first, they are decoded at the same time.
  for (uint32_t index = 0; index < kTableSize; ++index) {
    uint64_t entry = table_[index];
    if (entry == 0) continue;
    while (symbols_of(entry) < kMostSymbols) {
      const uint64_t next = table_[index << bits_of(entry) & (kTableSize - 1)];
      if (next == 0 || bits_of(entry) + first_bits_of(next) > kTableBits) break;
      entry = append(entry, next);
    }
    table_[index] = entry;
  }
  return SIGDCA_OK;
}

// The entry of a code that is longer than the table's bits.
uint64_t HuffmanStream::find_long(uint64_t window) const {
  const uint32_t code = static_cast<uint32_t>(window >> (64 - kMaxBits));
  int bits = kTableBits + 1;
  while (code >= end_code_[bits]) ++bits;  // the last one's end is behind every code
  const uint32_t place =
      first_place_[bits] + ((code - first_code_[bits]) >> (kMaxBits - bits));
  return make_entry(symbols_[place], static_cast<unsigned>(bits));
}

// kFast: whole words of bits and up to three symbols at a time, as long as both ends are far; else
// to the very end of both.
template <bool kFast, class T>
size_t HuffmanStream::take_some(T *out, size_t count) {
  const uint64_t *const table = table_.data();
  constexpr unsigned kShift = 64 - kTableBits;
  const uint8_t *next = next_;
  const uint8_t *const end = end_;
  uint64_t window = window_;
  int64_t available = available_;
  size_t done = 0;
  constexpr int kLookups = 3;  // of at most 16 bits, from the 56 that are there at least
  while (kFast ? end - next >= 8 && count - done >= kMostSymbols * kLookups : done < count) {
    if constexpr (kFast) {
      window |= __builtin_bswap64(load<uint64_t>(next)) >> available;
      next += (63 - available) >> 3;
      available |= 56;
      for (int lookup = 0; lookup < kLookups; ++lookup) {
        uint64_t entry = table[window >> kShift];
        if (__builtin_expect(symbols_of(entry) == 0, 0)) entry = find_long(window);
        store_symbols(entry, out + done);
        done += symbols_of(entry);
        window <<= bits_of(entry);
        available -= bits_of(entry);
      }
    } else {
      for (; available <= 48 && next < end; available += 8)
        window |= uint64_t{*next++} << (56 - available);
      if (available <= 0) break;
      uint64_t entry = table[window >> kShift];
      if (symbols_of(entry) == 0) entry = find_long(window);
      out[done++] = static_cast<T>(first_symbol_of(entry));
      window <<= first_bits_of(entry);
      available -= first_bits_of(entry);
    }
  }
  next_ = next;
  window_ = window;
  available_ = available;
  return done;
}

template <class T>
size_t HuffmanStream::take(T *out, size_t count) {
  size_t done = take_some<true>(out, count);
  done += take_some<false>(out + done, count - done);
  taken_ += done;
  return done;
}

template size_t HuffmanStream::take(uint8_t *out, size_t count);
template size_t HuffmanStream::take(uint16_t *out, size_t count);

sigdca_status HuffmanStream::finish(const Context &context, const char *where) const {
  const uint64_t num_bits = 8 * static_cast<uint64_t>(end_ - data_);
  return check_end(context, taken_ < count_ ? num_bits + 1 : bit(), where);
}

sigdca_status HuffmanStream::check_end(const Context &context, uint64_t end,
                                       const char *where) const {
  const uint64_t num_bits = 8 * static_cast<uint64_t>(end_ - data_);
  if (end > num_bits) {
    return context.fail(SIGDCA_STREAM_END, "%s ends at bit %llu, before the last of %llu symbols",
                        where, Wide{num_bits}, Wide{count_});
  }
  if (num_bits - end >= 8) {
    return context.fail(SIGDCA_TRAILING_BITS, "%s is read at bit %llu, but goes on to bit %llu",
                        where, Wide{end}, Wide{num_bits});
  }
  if (end < num_bits && (end_[-1] & ((1u << (num_bits - end)) - 1)) != 0) {
    return context.fail(SIGDCA_TRAILING_BITS, "%s: padding after bit %llu must be zero", where,
                        Wide{end});
  }
  return SIGDCA_OK;
}

}  // namespace sigdca
