// A tensor's levels, row by row (SPEC.md, "Levels"); mirrors sigdca/codec/levels.py.
#pragma once

#include "container/arithmetic.h"

namespace sigdca {

constexpr uint32_t kMaxRun = 7, kMaxSize = 15, kTreeBits = 3, kMaxNear = 3;
constexpr uint32_t kMaxStride = 1u << 28;

// How many values there are below and above zero.
struct Limits {
  uint32_t negative = 0, positive = 0;
};

class LevelModel {
 public:
  // stride: columns from one line of a row's image to the next; 0: a row is no image.
  sigdca_status open(const Context &context, uint32_t columns, uint32_t stride, Limits limits) {
    stride_ = stride, limits_ = limits;
    SIGDCA_TRY(columns_.allocate(context, columns));
    for (Column &column : columns_) column = Column{};
    return SIGDCA_OK;
  }

  // Codes the next row. `line` has room for `columns` levels behind `front()` zeros; a decoder
  // fills it. Returns whether any is not zero; where not, the line is as it was. *within becomes
  // false where a level is beyond its limit.
  template <class Coder>
  SIGDCA_ONCE bool code_row(Coder *coder, int32_t *line, bool *within);

  // Zeros that must lie before a line.
  uint32_t front() const { return stride_ + 2; }

  // What is known of a row at one of its columns.
  struct Place {
    uint32_t column = 0, run = 0, in_row = 0;  // zeros since the last level; levels
  };

  // Begins the next row: codes whether any of its levels is not zero.
  template <class Coder>
  bool code_start(Coder *coder, uint32_t any);

  // Codes the level at a place of a line whose earlier levels are there.
  template <class Coder>
  int32_t code_one(Coder *coder, const int32_t *line, const Place &place, int32_t given,
                   bool *within);

  // Moves on behind a level.
  void settle(int32_t level, Place *place);

 private:
  struct Column {
    Feature feature;
    int32_t before = 0;  // its last level that is not zero
    uint32_t filled = 0;
  };

  template <class Coder>
  int32_t code_level(Coder *coder, int32_t level, int32_t left, int32_t above, int32_t before,
                     bool *within);

  Array<Column> columns_;
  uint32_t stride_ = 0, number_ = 0, next_ = 0;
  Limits limits_;
  uint32_t was_used_ = 0;
  Feature row_[2], around_[32], run_[kMaxRun + 1], density_[64], sign_near_[9], sign_before_[3];
  Feature size_[kMaxSize + 1], size_near_[4 * (kMaxSize + 1)], size_before_[4 * (kMaxSize + 1)];
  Feature tail_[(1 << kTreeBits) * (kMaxSize + 2)];
};

inline uint32_t bit_length(uint32_t value) {
  return value == 0 ? 0 : 32 - static_cast<uint32_t>(__builtin_clz(value));
}

// About the logarithm of the share `count / of`, 0..7.
inline uint32_t fullness(uint32_t count, uint32_t of) {
  if (count == 0) return of >= 16;
  const uint32_t below = bit_length(of) - bit_length(count);
  return 7 - (below < 5 ? below : 5);
}

inline uint32_t sign_of(int32_t level) { return level > 0 ? 1 : level < 0 ? 2 : 0; }
inline uint32_t size_of(int32_t level) {
  return level < 0 ? 0u - static_cast<uint32_t>(level) : static_cast<uint32_t>(level);
}

template <class Coder>
int32_t LevelModel::code_level(Coder *coder, int32_t level, int32_t left, int32_t above,
                               int32_t before, bool *within) {
  bool negative = limits_.negative > 0;
  if (limits_.negative > 0 && limits_.positive > 0) {
    negative = coder->bit(level < 0, &sign_near_[sign_of(left) + 3 * sign_of(above)],
                          &sign_before_[sign_of(before)]) != 0;
  }
  const uint32_t most = negative ? limits_.negative : limits_.positive;
  const uint32_t beside = size_of(left) + size_of(above), behind = size_of(before);
  const uint32_t around = beside < kMaxNear ? beside : kMaxNear;
  const uint32_t under = behind < kMaxNear ? behind : kMaxNear;
  const uint32_t absolute = size_of(level), target = bit_length(absolute);
  const uint32_t largest = bit_length(most);
  uint32_t size = 1;
  while (size < largest) {
    const uint32_t context = size < kMaxSize ? size : kMaxSize;
    if (!coder->bit(target > size, &size_[context], &size_near_[4 * context + around],
                    &size_before_[4 * context + under]))
      break;
    ++size;
  }
  const uint32_t context = (1u << kTreeBits) * (size < kMaxSize + 1 ? size : kMaxSize + 1);
  const uint32_t tree = size - 1 < kTreeBits ? size - 1 : kTreeBits, rest = size - 1 - tree;
  uint32_t node = 1;
  for (uint32_t done = 0; done < tree; ++done) {
    const uint32_t bit = absolute >> (size - 2 - done) & 1;
    node = 2 * node + coder->bit(bit, &tail_[context + node]);
  }
  const uint32_t found = node << rest | coder->plain(absolute & ((1u << rest) - 1), rest);
  if (found > most) *within = false;
  return negative ? -static_cast<int32_t>(found) : static_cast<int32_t>(found);
}

template <class Coder>
bool LevelModel::code_start(Coder *coder, uint32_t any) {
  was_used_ = coder->bit(any, &row_[was_used_]);
  number_ = next_++;
  return was_used_ != 0;
}

template <class Coder>
int32_t LevelModel::code_one(Coder *coder, const int32_t *line, const Place &place, int32_t given,
                             bool *within) {
  const uint32_t column = place.column;
  const int32_t *const over = line - stride_;
  Column &here = columns_[column];
  const int32_t left = line[static_cast<int64_t>(column) - 1];
  uint32_t around = left != 0;
  around |= static_cast<uint32_t>(line[static_cast<int64_t>(column) - 2] != 0) << 1;
  int32_t above = 0;
  if (stride_ > 0) {  // before the row's first line there are zeros
    above = over[column];
    around |= static_cast<uint32_t>(above != 0) << 2;
    around |= static_cast<uint32_t>(column >= stride_ && over[static_cast<int64_t>(column) - 1] != 0) << 3;
    around |= static_cast<uint32_t>(column >= stride_ && over[column + 1] != 0) << 4;
  }
  const uint32_t steps = bit_length(place.run);
  const uint32_t density = 8 * fullness(here.filled, number_) + fullness(place.in_row, column);
  if (!coder->bit(given != 0, &here.feature, &around_[around],
                  &run_[steps < kMaxRun ? steps : kMaxRun], &density_[density]))
    return 0;
  return code_level(coder, given, left, above, here.before, within);
}

inline void LevelModel::settle(int32_t level, Place *place) {
  Column &here = columns_[place->column++];
  if (level == 0) {
    ++place->run;
    return;
  }
  here.before = level;
  ++here.filled;
  ++place->in_row;
  place->run = 0;
}

template <class Coder>
bool LevelModel::code_row(Coder *coder, int32_t *line, bool *within) {
  const uint32_t columns = static_cast<uint32_t>(columns_.size());
  uint32_t any = 0;
  if (Coder::kEncodes)
    for (uint32_t column = 0; column < columns && !any; ++column) any = line[column] != 0;
  if (!code_start(coder, any)) return false;
  for (Place place; place.column < columns;) {
    int32_t &level = line[place.column];
    if (const int32_t found = code_one(coder, line, place, level, within); found != 0)
      level = found;
    settle(level, &place);
  }
  return true;
}

}  // namespace sigdca
