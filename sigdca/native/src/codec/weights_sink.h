// A chunk's weights as plain float32.
#pragma once

#include "container/chunk_reader.h"
#include "sigdca_codec.h"

namespace sigdca {

class WeightsSink {
 public:
  explicit WeightsSink(const sigdca_chunk &chunk) : chunk_(chunk) {}

  sigdca_status reserve(const Context & /*unused*/, size_t /*unused*/) { return SIGDCA_OK; }
  void place(uint64_t position, uint32_t code) {
    chunk_.weights[position] = chunk_.values[code];
    chunk_.used[code] = 1;
  }

 private:
  sigdca_chunk chunk_;
};

}  // namespace sigdca
