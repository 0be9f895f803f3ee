// Errors and memory: what every function that can fail is given.
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "sigdca.h"

namespace sigdca {

// `TRY(call)` returns from the enclosing function with the call's status unless it is SIGDCA_OK.
#define SIGDCA_TRY(call)                                 \
  do {                                                   \
    const sigdca_status sigdca_try_status = (call);      \
    if (sigdca_try_status != SIGDCA_OK) return sigdca_try_status; \
  } while (0)

// The caller's allocator and the place for the one line that says what went wrong.
struct Context {
  sigdca_allocator allocator;
  sigdca_error *error;  // may be null

  // Writes the line (printf's format) and returns `status`.
  sigdca_status fail(sigdca_status status, const char *format, ...) const
      __attribute__((format(printf, 3, 4)));
};

// malloc's memory.
sigdca_allocator default_allocator();

// A block of memory of `count` values that frees itself. Trivial types only; not zeroed.
template <class T>
class Array {
 public:
  Array() = default;
  Array(const Array &) = delete;
  Array &operator=(const Array &) = delete;
  Array(Array &&other) noexcept { swap(other); }
  Array &operator=(Array &&other) noexcept {
    swap(other);
    return *this;
  }
  ~Array() { release(); }

  // Replaces the content by `count` values, aligned to 64 bytes. A count of 0 allocates nothing.
  sigdca_status allocate(const Context &context, size_t count) {
    release();
    if (count == 0) return SIGDCA_OK;
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, sizeof(T), &bytes) || bytes > SIZE_MAX / 2)
      return context.fail(SIGDCA_OUT_OF_MEMORY, "memory: %zu values are too many", count);
    void *memory = context.allocator.allocate(context.allocator.context, bytes, 64);
    if (memory == nullptr)
      return context.fail(SIGDCA_OUT_OF_MEMORY, "memory: no %zu bytes left", bytes);
    allocator_ = context.allocator;
    data_ = static_cast<T *>(memory);
    size_ = count;
    return SIGDCA_OK;
  }

  void release() {
    if (data_ != nullptr) allocator_.release(allocator_.context, data_, size_ * sizeof(T));
    data_ = nullptr;
    size_ = 0;
  }

  void swap(Array &other) {
    const sigdca_allocator allocator = allocator_;
    T *const data = data_;
    const size_t size = size_;
    allocator_ = other.allocator_, data_ = other.data_, size_ = other.size_;
    other.allocator_ = allocator, other.data_ = data, other.size_ = size;
  }

  T *data() { return data_; }
  const T *data() const { return data_; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T &operator[](size_t index) { return data_[index]; }
  const T &operator[](size_t index) const { return data_[index]; }
  T *begin() { return data_; }
  T *end() { return data_ + size_; }
  const T *begin() const { return data_; }
  const T *end() const { return data_ + size_; }

 private:
  sigdca_allocator allocator_{};
  T *data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sigdca
