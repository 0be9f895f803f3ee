// How much memory is held, and was at the most.
#pragma once

#include "core/context.h"

namespace sigdca {

// Hands on to a caller's allocator and counts. Blocks that came from `allocator()` keep its place:
// it must outlive them.
class Counted {
 public:
  void start(const sigdca_allocator &caller) { caller_ = caller; }
  sigdca_allocator allocator();
  size_t bytes() const { return bytes_; }
  size_t peak_bytes() const { return peak_bytes_; }

 private:
  static void *allocate(void *context, size_t bytes, size_t alignment);
  static void release(void *context, void *memory, size_t bytes);

  sigdca_allocator caller_{};
  size_t bytes_ = 0, peak_bytes_ = 0;
};

}  // namespace sigdca
