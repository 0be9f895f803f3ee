// Lists of a length that is not known before.
#pragma once

#include <string.h>

#include "core/context.h"

namespace sigdca {

// Adds a value behind the first `count`.
template <class T>
sigdca_status append(const Context &context, Array<T> *list, size_t count, T value) {
  if (count == list->size()) {
    Array<T> larger;
    SIGDCA_TRY(larger.allocate(context, count < 64 ? 64 : count + count / 2));
    if (count > 0) memcpy(larger.data(), list->data(), count * sizeof(T));
    list->swap(larger);
  }
  (*list)[count] = value;
  return SIGDCA_OK;
}

// Makes room for `needed` values at least; keeps the first `count`.
template <class T>
sigdca_status extend(const Context &context, Array<T> *list, size_t count, size_t needed) {
  if (needed <= list->size()) return SIGDCA_OK;
  Array<T> larger;
  SIGDCA_TRY(larger.allocate(context, needed + count / 2));
  if (count > 0) memcpy(larger.data(), list->data(), count * sizeof(T));
  list->swap(larger);
  return SIGDCA_OK;
}

// Makes a list as long as its content.
template <class T>
sigdca_status cut(const Context &context, Array<T> *list, size_t count) {
  if (count == list->size()) return SIGDCA_OK;
  Array<T> exact;
  SIGDCA_TRY(exact.allocate(context, count));
  if (count > 0) memcpy(exact.data(), list->data(), count * sizeof(T));
  list->swap(exact);
  return SIGDCA_OK;
}

}  // namespace sigdca
