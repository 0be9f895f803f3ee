// Chunks of a weight (SPEC.md, "Chunks") into whatever takes them; mirrors sigdca/codec/chunks.py.
//
// A sink has `reserve(context, count)`, which makes room for so many more weights, and
// `place(position, code)`, which takes one: its place in the chunk, ascending, and its value's rank.
#pragma once

#include "container/rans.h"
#include "container/sparse.h"
#include "container/text.h"
#include "container/varint.h"

namespace sigdca {

constexpr uint32_t kMaxGapSymbolBits = 8, kMinGapSymbolBits = 2;

// A level as the rank of its value: what is below zero comes first.
inline uint32_t code_of(int32_t level, Limits limits) {
  const int32_t from = static_cast<int32_t>(limits.negative) + level;
  return static_cast<uint32_t>(from - (level > 0));
}

// The rest of a chunk with coder 4, behind its count.
template <class Sink>
sigdca_status read_sparse(const Context &context, ArithmeticDecoder *decoder, uint32_t count,
                          uint64_t size, Limits limits, const char *where, Sink *sink) {
  SparseModel model(limits);
  SIGDCA_TRY(sink->reserve(context, count));
  uint64_t cursor = 0;
  for (uint32_t number = 0; number < count; ++number, ++cursor) {
    cursor += model.code_gap(decoder, 0);
    if (cursor >= size) {
      return context.fail(SIGDCA_GAP_OVERRUN, "%s: gaps lead to weight %llu, the last is %llu",
                          where, static_cast<unsigned long long>(cursor),
                          static_cast<unsigned long long>(size - 1));
    }
    bool within = true;
    const int32_t level = model.code_level(decoder, 0, &within);
    if (!within)
      return context.fail(SIGDCA_LEVEL, "%s: a level is beyond its tensor's values", where);
    sink->place(cursor, code_of(level, limits));
  }
  return SIGDCA_OK;
}

// What the head of a section with coder 2 says.
struct RansHead {
  uint32_t structure = 0;  // 0: a map; else the bits of a gap symbol
  RansTable places, levels;
};

// How many weights the structure's symbols place; that all of them lie within the chunk.
inline sigdca_status count_placed(const Context &context, const uint8_t *symbols, size_t count,
                                  uint64_t size, uint32_t structure, const char *where,
                                  size_t *placed) {
  const auto wide = [](uint64_t number) { return static_cast<unsigned long long>(number); };
  *placed = 0;
  if (structure == 0) {
    for (size_t index = 0; index < count; ++index)
      *placed += static_cast<size_t>(__builtin_popcount(symbols[index]));
    const uint32_t over = static_cast<uint32_t>(8 * count - size);
    const uint32_t wrong = symbols[count - 1] & ((1u << over) - 1);
    if (wrong == 0) return SIGDCA_OK;
    const uint64_t last = 8 * count - 1 - static_cast<uint32_t>(__builtin_ctz(wrong));
    return context.fail(SIGDCA_GAP_OVERRUN, "%s leads to weight %llu, the last is %llu", where,
                        wide(last), wide(size - 1));
  }
  const uint32_t filler = (1u << structure) - 1;
  uint64_t zeros = 0;
  for (size_t index = 0; index < count; ++index) {
    zeros += symbols[index];
    *placed += symbols[index] != filler;
  }
  if (count > 0 && symbols[count - 1] == filler) {
    return context.fail(SIGDCA_GAP_END, "%s: symbol %zu, the last one, is a filler", where,
                        count - 1);
  }
  if (zeros + *placed <= size) return SIGDCA_OK;
  return context.fail(SIGDCA_GAP_OVERRUN, "%s leads to weight %llu, the last is %llu", where,
                      wide(zeros + *placed - 1), wide(size - 1));
}

template <class Sink>
void place_by_map(const uint8_t *map, size_t count, const uint8_t *codes, Sink *sink) {
  for (size_t index = 0; index < count; ++index) {
    for (uint32_t bits = uint32_t{map[index]} << 24; bits != 0;) {
      const uint32_t place = static_cast<uint32_t>(__builtin_clz(bits));
      bits ^= 0x80000000u >> place;
      sink->place(8 * uint64_t{index} + place, *codes++);
    }
  }
}

template <class Sink>
void place_by_gaps(const uint8_t *gaps, size_t count, uint32_t filler, const uint8_t *codes,
                   Sink *sink) {
  uint64_t cursor = 0;
  for (size_t index = 0; index < count; ++index) {
    const uint32_t gap = gaps[index];
    cursor += gap;
    if (gap != filler) sink->place(cursor++, *codes++);
  }
}

// A chunk with coder 2.
template <class Sink>
sigdca_status read_rans(const Context &context, const RansHead &head, Bytes chunk, uint64_t size,
                        const char *tensor, Sink *sink) {
  Text text, level_text;
  text.add("%s: %s stream", tensor, head.structure == 0 ? "map" : "gap");
  const char *const where = text.get();
  uint32_t count = static_cast<uint32_t>((size + 7) / 8), bytes = 0;
  if (head.structure != 0) SIGDCA_TRY(read_varint(context, &chunk, where, &count));
  if (count > size) {
    return context.fail(SIGDCA_SYMBOL_COUNT, "%s promises %u symbols, its chunk has %llu weights",
                        where, count, static_cast<unsigned long long>(size));
  }
  SIGDCA_TRY(read_varint(context, &chunk, where, &bytes));
  if (bytes > chunk.size - chunk.at) {
    return context.fail(SIGDCA_STREAM_END, "%s: has %zu bytes of %u", where, chunk.size - chunk.at,
                        bytes);
  }
  Array<uint8_t> symbols, codes;
  SIGDCA_TRY(symbols.allocate(context, count));
  SIGDCA_TRY(head.places.decode(context, chunk.data + chunk.at, bytes, count, where,
                                symbols.data()));
  size_t placed = 0;
  SIGDCA_TRY(count_placed(context, symbols.data(), count, size, head.structure, where, &placed));
  SIGDCA_TRY(codes.allocate(context, placed));
  level_text.add("%s: level stream", tensor);
  const size_t behind = chunk.at + bytes;
  SIGDCA_TRY(head.levels.decode(context, chunk.data + behind, chunk.size - behind, placed,
                                level_text.get(), codes.data()));
  SIGDCA_TRY(sink->reserve(context, placed));
  if (head.structure == 0) {
    place_by_map(symbols.data(), count, codes.data(), sink);
  } else {
    place_by_gaps(symbols.data(), count, (1u << head.structure) - 1, codes.data(), sink);
  }
  return SIGDCA_OK;
}

}  // namespace sigdca
