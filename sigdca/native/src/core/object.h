// Objects in the caller's memory.
#pragma once

#include <new>

#include "core/context.h"

namespace sigdca {

// Makes a T from nothing; `destroy` undoes it.
template <class T>
sigdca_status make(const Context &context, T **object) {
  const sigdca_allocator &allocator = context.allocator;
  void *memory = allocator.allocate(allocator.context, sizeof(T), 64);
  if (memory == nullptr)
    return context.fail(SIGDCA_OUT_OF_MEMORY, "memory: no %zu bytes left", sizeof(T));
  *object = new (memory) T();
  return SIGDCA_OK;
}

// Null is allowed. The allocator is taken by value: it may lie in the object.
template <class T>
void destroy(sigdca_allocator allocator, T *object) {
  if (object == nullptr) return;
  object->~T();
  allocator.release(allocator.context, object, sizeof(T));
}

}  // namespace sigdca
