// An allocator that gives no more than so many bytes.
#pragma once

#include <stdlib.h>

#include "sigdca.h"

namespace sigdca_fuzz {

struct Limit {
  size_t left;

  sigdca_allocator allocator() { return {this, allocate, release}; }

  static void *allocate(void *context, size_t bytes, size_t) {
    Limit &limit = *static_cast<Limit *>(context);
    void *memory = nullptr;
    if (bytes > limit.left || posix_memalign(&memory, 64, bytes) != 0) return nullptr;
    limit.left -= bytes;
    return memory;
  }

  static void release(void *context, void *memory, size_t bytes) {
    static_cast<Limit *>(context)->left += bytes;
    free(memory);
  }
};

}  // namespace sigdca_fuzz
