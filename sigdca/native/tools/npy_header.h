// The header of a .npy file: a Python dictionary as text.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace dca_run {

struct NpyHeader {
  char kind;  // numpy's letter: u, i, f, b, ...
  uint32_t item_bytes;
  bool big_endian, fortran_order;
  uint32_t rank;
  uint64_t shape[8];
};

// Null if all is well, else what is wrong. Takes the dictionary alone, no more than numpy writes.
const char *read_npy_header(const char *text, size_t length, NpyHeader *header);

}  // namespace dca_run
