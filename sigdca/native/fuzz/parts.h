// A container taken apart and put together again with right lengths and checksums.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vector>

namespace sigdca_fuzz {

struct Part {
  uint8_t tag;  // coder << 4 | kind
  uint32_t tensor;
  std::vector<uint8_t> payload;
};

// The sections of what is more or less a container; no checksum is looked at. False where its table
// leads nowhere.
bool take_apart(const uint8_t *data, size_t bytes, std::vector<Part> *parts);

std::vector<uint8_t> put_together(const std::vector<Part> &parts);

// The head and the chunks of a layer of version 2. False where it is not coded so, or where a length
// leads behind its end.
bool take_chunks(const Part &part, std::vector<std::vector<uint8_t>> *pieces);

std::vector<uint8_t> put_chunks(const std::vector<std::vector<uint8_t>> &pieces);

}  // namespace sigdca_fuzz
