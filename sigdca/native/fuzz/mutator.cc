// What libFuzzer asks for a new input: mostly it changes the inside of a section, and mends lengths
// and checksums after it, else hardly an input would get past the checksums.
#include <stdlib.h>
#include <string.h>

#include <random>
#include <utility>

#include "parts.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t max_bytes);

using sigdca_fuzz::Part;
using sigdca_fuzz::put_chunks;
using sigdca_fuzz::put_together;
using sigdca_fuzz::take_apart;
using sigdca_fuzz::take_chunks;

namespace {

using Random = std::minstd_rand;
using Parts = std::vector<Part>;

size_t pick(Random &random, size_t count) { return random() / 7 % count; }

// What is to be changed: a section's payload, or mostly its head or a chunk where it has those.
template <class Change>
void change_inside(Random &random, Parts *parts, Change change) {
  Part &part = (*parts)[pick(random, parts->size())];
  std::vector<std::vector<uint8_t>> pieces;
  if (pick(random, 8) == 0 || !take_chunks(part, &pieces)) {
    change(&part.payload);
    return;
  }
  change(&pieces[pick(random, pieces.size())]);
  part.payload = put_chunks(pieces);
}

void mutate_payload(size_t room, std::vector<uint8_t> *payload) {
  const size_t bytes = payload->size();
  payload->resize(bytes + (room < 64 ? room : 64));
  if (payload->empty()) return;  // libFuzzer cannot write into no room
  payload->resize(LLVMFuzzerMutate(payload->data(), bytes, payload->size()));
}

// An attribute, a count, a code length: mostly one byte matters.
void change_byte(Random &random, std::vector<uint8_t> *payload) {
  if (payload->empty()) return;
  uint8_t &byte = (*payload)[pick(random, payload->size())];
  switch (pick(random, 4)) {
    case 0: byte ^= 1 << pick(random, 8); break;
    case 1: ++byte; break;
    case 2: --byte; break;
    default: byte = static_cast<uint8_t>(pick(random, 256)); break;
  }
}

void change_table(Random &random, Parts *parts) {
  Part &part = (*parts)[pick(random, parts->size())];
  switch (pick(random, 5)) {
    case 0: part.tag = static_cast<uint8_t>(pick(random, 256)); break;
    case 1: part.tensor = static_cast<uint32_t>(pick(random, parts->size() + 1)); break;
    case 2: std::swap(part, (*parts)[pick(random, parts->size())]); break;
    case 3: parts->insert(parts->begin() + pick(random, parts->size()), Part(part)); break;
    default: parts->erase(parts->begin() + pick(random, parts->size())); break;
  }
}

// Gives one section the content of another of its kind.
void exchange(Random &random, const Parts &donors, Parts *parts) {
  Part &part = (*parts)[pick(random, parts->size())];
  const size_t first = pick(random, donors.size());
  for (size_t index = 0; index < donors.size(); ++index) {
    const Part &donor = donors[(first + index) % donors.size()];
    if (donor.tag != part.tag) continue;
    part.payload = std::vector<uint8_t>(donor.payload);
    return;
  }
}

// `data` becomes the container if that fits.
size_t write(const Parts &parts, uint8_t *data, size_t bytes, size_t max_bytes) {
  const std::vector<uint8_t> out = put_together(parts);
  if (out.size() > max_bytes) return bytes;
  memcpy(data, out.data(), out.size());
  return out.size();
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t max_bytes,
                                          unsigned seed) {
  Random random(seed);
  Parts parts;
  if (pick(random, 50) == 0 || !take_apart(data, bytes, &parts))
    return LLVMFuzzerMutate(data, bytes, max_bytes);
  for (size_t times = 1 + pick(random, 3); times > 0 && !parts.empty(); --times) {
    const size_t way = pick(random, 16);
    if (way == 0) {
      change_table(random, &parts);
    } else if (way == 1) {
      exchange(random, Parts(parts), &parts);
    } else if (way < 8) {
      change_inside(random, &parts,
                    [&](std::vector<uint8_t> *inside) { change_byte(random, inside); });
    } else {
      const size_t room = max_bytes > bytes ? max_bytes - bytes : 0;
      change_inside(random, &parts,
                    [&](std::vector<uint8_t> *inside) { mutate_payload(room, inside); });
    }
  }
  return write(parts, data, bytes, max_bytes);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_bytes,
                                            const uint8_t *second, size_t second_bytes,
                                            uint8_t *out, size_t max_bytes, unsigned seed) {
  Random random(seed);
  Parts parts, donors;
  if (first_bytes > max_bytes || !take_apart(first, first_bytes, &parts) ||
      !take_apart(second, second_bytes, &donors))
    return 0;
  for (size_t times = 1 + pick(random, 3); times > 0; --times) exchange(random, donors, &parts);
  memcpy(out, first, first_bytes);
  return write(parts, out, first_bytes, max_bytes);
}
