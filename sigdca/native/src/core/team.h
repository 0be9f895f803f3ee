// The threads of a session. A run is one function that all of them execute, each with its rank.
#pragma once

#include "core/context.h"

namespace sigdca {

struct TeamState;

// What one thread of the team sees.
struct Team {
  uint32_t rank = 0, size = 1;
  TeamState *state = nullptr;  // null in a team of one

  // Returns when all threads of the team have come here. All must call it equally often.
  void barrier() const {
    if (size > 1) wait_for_all();
  }

  // This thread's part [begin, end) of `count` things, in pieces of `unit`.
  void part(size_t count, size_t unit, size_t *begin, size_t *end) const {
    const size_t units = (count + unit - 1) / unit;
    *begin = units * rank / size * unit;
    *end = units * (rank + 1) / size * unit;
    if (*begin > count) *begin = count;
    if (*end > count) *end = count;
  }

 private:
  void wait_for_all() const;
};

}  // namespace sigdca
