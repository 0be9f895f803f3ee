// What checks of libsigdca-codec share: an allocator that fails, and how they end.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <random>
#include <vector>

#include "sigdca_codec.h"

namespace sigdca_check {

inline int left = -1;  // allocations until one fails; below 0: none does

inline void *allocate(void *, size_t bytes, size_t alignment) {
  if (left == 0) return nullptr;
  --left;
  return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

inline void release(void *, void *memory, size_t) { free(memory); }

constexpr sigdca_allocator kAllocator = {nullptr, allocate, release};

inline void expect(bool holds, const char *what) {
  if (holds) return;
  printf("%s\n", what);
  exit(1);
}

// Has the first, the second, ... allocation fail until none does. Returns how often that was.
template <class Attempt>
int fail_each(Attempt attempt) {
  int failing = 0;
  for (sigdca_status status = SIGDCA_OUT_OF_MEMORY; status != SIGDCA_OK; ++failing) {
    left = failing;
    status = attempt();
    left = -1;
    expect(status == SIGDCA_OK || status == SIGDCA_OUT_OF_MEMORY, "a failed allocation");
  }
  return failing;
}

#define TRY(call)                               \
  do {                                          \
    const sigdca_status status = (call);        \
    if (status != SIGDCA_OK) return status;     \
  } while (0)

struct Coder {
  sigdca_coder *coder = nullptr;
  ~Coder() { sigdca_coder_free(coder); }
};

}  // namespace sigdca_check
