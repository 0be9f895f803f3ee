#include "core/counted.h"

namespace sigdca {

sigdca_allocator Counted::allocator() { return {this, allocate, release}; }

void *Counted::allocate(void *context, size_t bytes, size_t alignment) {
  Counted &self = *static_cast<Counted *>(context);
  void *memory = self.caller_.allocate(self.caller_.context, bytes, alignment);
  if (memory == nullptr) return nullptr;
  self.bytes_ += bytes;
  if (self.bytes_ > self.peak_bytes_) self.peak_bytes_ = self.bytes_;
  return memory;
}

void Counted::release(void *context, void *memory, size_t bytes) {
  Counted &self = *static_cast<Counted *>(context);
  self.caller_.release(self.caller_.context, memory, bytes);
  self.bytes_ -= bytes;
}

}  // namespace sigdca
