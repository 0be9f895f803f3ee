// Levels that are not zero, by the zeros between them (SPEC.md, "Sparse levels"); mirrors
// sigdca/codec/sparse.py.
#pragma once

#include "container/levels.h"

namespace sigdca {

constexpr uint32_t kMaxGapBits = 31, kGapTreeBits = 3;

class SparseModel {
 public:
  explicit SparseModel(Limits limits) : limits_(limits) {}

  // Codes the zeros before the next level.
  template <class Coder>
  uint32_t code_gap(Coder *coder, uint32_t gap) {
    const uint32_t target = bit_length(gap);
    Counter *const lengths = gap_ + 32 * length_before_;
    uint32_t length = 0;
    while (length < kMaxGapBits && coder->counted(target > length, &lengths[length])) ++length;
    length_before_ = length;
    if (length == 0) return 0;
    const uint32_t tree = length - 1 < kGapTreeBits ? length - 1 : kGapTreeBits;
    return tail(coder, gap, length, tree, gap_tail_ + 8 * length);
  }

  // Codes a level that is not zero. *within becomes false where it is beyond its limit.
  template <class Coder>
  int32_t code_level(Coder *coder, int32_t level, bool *within) {
    bool negative = limits_.negative > 0;
    if (limits_.negative > 0 && limits_.positive > 0)
      negative = coder->tossed(level < 0, &sign_[sign_of(level_before_)]) != 0;
    const uint32_t most = negative ? limits_.negative : limits_.positive;
    const uint32_t behind = size_of(level_before_), near = behind < kMaxNear ? behind : kMaxNear;
    const uint32_t absolute = size_of(level), target = bit_length(absolute);
    const uint32_t largest = bit_length(most);
    uint32_t size = 1;
    for (; size < largest; ++size) {
      const uint32_t context = size < kMaxSize ? size : kMaxSize;
      if (!coder->counted(target > size, &size_[4 * context + near])) break;
    }
    const uint32_t tree = size - 1 < kTreeBits ? size - 1 : kTreeBits;
    const uint32_t context = (1u << kTreeBits) * (size < kMaxSize + 1 ? size : kMaxSize + 1);
    const uint32_t found = tail(coder, absolute, size, tree, tail_ + context);
    if (found > most) *within = false;
    level_before_ = negative ? -static_cast<int32_t>(found) : static_cast<int32_t>(found);
    return level_before_;
  }

 private:
  // A number's bits below its top one: `tree` of them counted, the others plain.
  template <class Coder>
  static uint32_t tail(Coder *coder, uint32_t number, uint32_t length, uint32_t tree,
                       Counter *counters) {
    uint32_t node = 1;
    for (uint32_t done = 0; done < tree; ++done)
      node = 2 * node + coder->tossed(number >> (length - 2 - done) & 1, &counters[node]);
    const uint32_t rest = length - 1 - tree;
    return node << rest | coder->plain(number & ((1u << rest) - 1), rest);
  }

  Limits limits_;
  uint32_t length_before_ = 0;
  int32_t level_before_ = 0;
  Counter gap_[32 * 32], gap_tail_[8 * 32], sign_[3], size_[4 * (kMaxSize + 1)];
  Counter tail_[(1 << kTreeBits) * (kMaxSize + 2)];
};

}  // namespace sigdca
