#include "core/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace sigdca {

sigdca_status Context::fail(sigdca_status status, const char *format, ...) const {
  if (error == nullptr) return status;
  error->status = status;
  const size_t room = sizeof error->message;
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(error->message, room, format, arguments);
  va_end(arguments);
  if (length < 0) error->message[0] = '\0';
  if (length < 0 || static_cast<size_t>(length) < room) return status;
  // Cut: a name may be UTF-8, so drop a character that is not whole.
  size_t end = room - 1;
  while (end > 0 && (static_cast<uint8_t>(error->message[end - 1]) & 0xC0) == 0x80) --end;
  const uint8_t lead = end > 0 ? static_cast<uint8_t>(error->message[end - 1]) : 0;
  const size_t needs = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  if (end > 0 && end - 1 + needs > room - 1) error->message[end - 1] = '\0';
  return status;
}

static void *allocate_aligned(void *, size_t bytes, size_t alignment) {
  if (bytes > SIZE_MAX - alignment) return nullptr;
  return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void release_aligned(void *, void *memory, size_t) { free(memory); }

sigdca_allocator default_allocator() { return {nullptr, allocate_aligned, release_aligned}; }

}  // namespace sigdca
