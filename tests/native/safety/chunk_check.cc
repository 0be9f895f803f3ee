// Chunks, sparse and by rANS, there and back; damaged ones; wrong calls; every allocation failed
// once. What is read into is as large as it must be, so that a sanitizer sees a write beside it.
#include <string.h>

#include <algorithm>

#include "coder_check.h"

using namespace sigdca_check;
using Bytes = std::vector<uint8_t>;
using Frequencies = std::vector<int32_t>;

namespace {

struct Chunk {
  std::vector<uint32_t> places;
  std::vector<int32_t> levels;
  uint32_t size, negative, positive;
  std::vector<float> values;  // of the levels
};

// What a chunk is read into.
struct Found {
  std::vector<float> weights;
  std::vector<uint8_t> used;
  sigdca_chunk chunk;

  explicit Found(const Chunk &c) : weights(c.size), used(c.values.size()) {
    chunk = {c.values.data(), c.negative, c.positive, weights.data(), c.size, used.data()};
  }

  bool holds(const Chunk &c) const {
    std::vector<float> expected(c.size);
    std::vector<uint8_t> met(c.values.size());
    for (size_t index = 0; index < c.places.size(); ++index) {
      expected[c.places[index]] = static_cast<float>(c.levels[index]);
      met[c.levels[index] + c.negative - (c.levels[index] > 0)] = 1;
    }
    return weights == expected && used == met;
  }
};

uint32_t pick(std::minstd_rand &random, uint32_t count) {
  return static_cast<uint32_t>(random() / 7 % count);
}

Chunk draw(std::minstd_rand &random, uint32_t most) {
  Chunk c{};
  c.size = 1 + pick(random, 500);
  c.negative = pick(random, 4) == 0 ? 0 : 1 + pick(random, most);
  c.positive = c.negative == 0 || pick(random, 4) > 0 ? 1 + pick(random, most) : 0;
  const int32_t lowest = -static_cast<int32_t>(c.negative), highest = c.positive;
  for (int32_t level = lowest; level <= highest; ++level)
    if (level != 0) c.values.push_back(static_cast<float>(level));
  const uint32_t density = pick(random, 101);
  for (uint32_t place = 0; place < c.size; ++place) {
    if (pick(random, 100) >= density) continue;
    c.places.push_back(place);
    c.levels.push_back(static_cast<int32_t>(c.values[pick(random, c.values.size())]));
  }
  return c;
}

sigdca_status write_sparse(const Chunk &c, Bytes *out) {
  Coder encoder;
  TRY(sigdca_coder_create(nullptr, 0, &kAllocator, &encoder.coder, nullptr));
  TRY(sigdca_coder_sparse(encoder.coder, c.places.data(), c.levels.data(), c.places.size(), c.size,
                          c.negative, c.positive, nullptr));
  const void *data = nullptr;
  size_t bytes = 0;
  TRY(sigdca_coder_finish(encoder.coder, &data, &bytes, nullptr));
  const uint8_t *const begin = static_cast<const uint8_t *>(data);
  *out = Bytes(begin, begin + bytes);
  return SIGDCA_OK;
}

sigdca_status read_sparse(const Chunk &c, const Bytes &stream, Found *found) {
  Coder decoder;
  const void *const data = stream.empty() ? static_cast<const void *>("") : stream.data();
  TRY(sigdca_coder_create(data, stream.size(), &kAllocator, &decoder.coder, nullptr));
  sigdca_error error;
  TRY(sigdca_coder_sparse_weights(decoder.coder, static_cast<uint32_t>(c.places.size()),
                                  &found->chunk, "here", &error));
  return sigdca_coder_finish(decoder.coder, nullptr, nullptr, nullptr);
}

// Of sum 4096, at least one for each symbol that occurs.
Frequencies frequencies_of(const Bytes &symbols, size_t alphabet) {
  Frequencies counts(alphabet);
  for (const uint8_t symbol : symbols) ++counts[symbol];
  int32_t rest = 4096;
  for (int32_t &count : counts) {
    if (count > 0) count = std::max<int32_t>(1, 4096 * int64_t{count} / symbols.size());
    rest -= count;
  }
  for (; rest < 0; ++rest) --*std::max_element(counts.begin(), counts.end());
  *std::max_element(counts.begin(), counts.end()) += rest;
  return counts;
}

Bytes encode(const Bytes &symbols, const Frequencies &frequencies) {
  Bytes out(16 + 2 * symbols.size());
  size_t bytes = 0;
  expect(sigdca_rans_encode(symbols.data(), symbols.size(), frequencies.data(),
                            static_cast<uint32_t>(frequencies.size()), out.data(), &bytes,
                            nullptr) == SIGDCA_OK,
         "rANS is written");
  out.resize(bytes);
  return out;
}

void put_varint(size_t value, Bytes *out) {
  for (; value >= 128; value >>= 7) out->push_back(static_cast<uint8_t>(value | 128));
  out->push_back(static_cast<uint8_t>(value));
}

struct Rans {
  uint32_t structure;
  Frequencies frequencies, level_frequencies;
  Bytes content;
};

Bytes structure_of(const Chunk &c, uint32_t bits) {
  Bytes symbols;
  if (bits == 0) {
    symbols.resize((c.size + 7) / 8);
    for (const uint32_t place : c.places) symbols[place / 8] |= 128 >> place % 8;
    return symbols;
  }
  const uint32_t filler = (1u << bits) - 1;
  uint32_t next = 0;
  for (const uint32_t place : c.places) {
    uint32_t zeros = place - next;
    for (; zeros >= filler; zeros -= filler) symbols.push_back(static_cast<uint8_t>(filler));
    symbols.push_back(static_cast<uint8_t>(zeros));
    next = place + 1;
  }
  return symbols;
}

Rans write_rans(const Chunk &c, uint32_t structure) {
  const Bytes symbols = structure_of(c, structure);
  Bytes ranks;
  for (const int32_t level : c.levels)
    ranks.push_back(static_cast<uint8_t>(level + static_cast<int32_t>(c.negative) - (level > 0)));
  Rans rans{structure, frequencies_of(symbols, structure == 0 ? 256 : 1u << structure),
            frequencies_of(ranks, c.values.size()), {}};
  const Bytes places = encode(symbols, rans.frequencies);
  const Bytes levels = encode(ranks, rans.level_frequencies);
  if (structure != 0) put_varint(symbols.size(), &rans.content);
  put_varint(places.size(), &rans.content);
  rans.content.insert(rans.content.end(), places.begin(), places.end());
  rans.content.insert(rans.content.end(), levels.begin(), levels.end());
  return rans;
}

sigdca_status read_rans(const Rans &rans, Found *found) {
  sigdca_error error;
  return sigdca_rans_decode(rans.content.data(), rans.content.size(), rans.structure,
                            rans.frequencies.data(), rans.level_frequencies.data(), &found->chunk,
                            "here", &kAllocator, &error);
}

uint32_t any_structure(std::minstd_rand &random) {
  const uint32_t bits = 1 + pick(random, 8);
  return bits == 1 ? 0 : bits;
}

void there_and_back(std::minstd_rand &random, bool wide) {
  const Chunk c = draw(random, wide ? 65535 : 100);
  Bytes stream;
  Found sparse(c);
  expect(write_sparse(c, &stream) == SIGDCA_OK, "sparse levels are written");
  expect(read_sparse(c, stream, &sparse) == SIGDCA_OK && sparse.holds(c), "sparse, and back");
  if (wide) return;
  Found by_rans(c);
  expect(read_rans(write_rans(c, any_structure(random)), &by_rans) == SIGDCA_OK &&
             by_rans.holds(c),
         "rANS, and back");
}

// A few bytes changed, put in or taken out.
void damage(std::minstd_rand &random, Bytes *bytes) {
  for (uint32_t times = 1 + pick(random, 3); times > 0; --times) {
    const uint32_t at = pick(random, static_cast<uint32_t>(bytes->size() + 1));
    const uint8_t byte = static_cast<uint8_t>(pick(random, 256));
    const bool inside = at < bytes->size();
    switch (pick(random, 4)) {
      case 0: bytes->insert(bytes->begin() + at, byte); break;
      case 1: bytes->resize(at); break;
      case 2:
        if (inside) bytes->erase(bytes->begin() + at);
        break;
      default:
        if (inside) (*bytes)[at] = pick(random, 2) ? byte : (*bytes)[at] ^ 1 << byte % 8;
    }
  }
  bytes->shrink_to_fit();
}

void damaged(std::minstd_rand &random) {
  const Chunk c = draw(random, 100);
  Bytes stream;
  Found sparse(c), by_rans(c);
  expect(write_sparse(c, &stream) == SIGDCA_OK, "sparse levels are written");
  damage(random, &stream);
  const sigdca_status of_sparse = read_sparse(c, stream, &sparse);
  expect(of_sparse == SIGDCA_OK || of_sparse == SIGDCA_GAP_OVERRUN || of_sparse == SIGDCA_LEVEL ||
             of_sparse == SIGDCA_TRAILING_BITS,
         "an error of sparse levels");
  Rans rans = write_rans(c, any_structure(random));
  damage(random, &rans.content);
  if (pick(random, 4) == 0)  // streams of other frequencies
    std::swap(rans.frequencies[0], rans.frequencies[pick(random, rans.frequencies.size())]);
  const sigdca_status of_rans = read_rans(rans, &by_rans);
  expect(of_rans == SIGDCA_OK || of_rans >= 16, "an error of a container");
}

void wrong_sparse_calls() {
  sigdca_error error;
  Coder encoder, decoder;
  expect(sigdca_coder_create(nullptr, 0, nullptr, &encoder.coder, &error) == SIGDCA_OK, "a coder");
  expect(sigdca_coder_create("", 0, nullptr, &decoder.coder, &error) == SIGDCA_OK, "a coder");
  const uint32_t places[2] = {3, 5};
  const auto write = [&](sigdca_coder *coder, int32_t level, uint32_t size, uint32_t negative,
                         uint32_t positive) {
    const int32_t levels[2] = {1, level};
    return sigdca_coder_sparse(coder, places, levels, 2, size, negative, positive, &error);
  };
  expect(write(decoder.coder, 1, 9, 1, 1) == SIGDCA_INVALID_ARGUMENT, "a decoder that writes");
  expect(write(encoder.coder, 1, 9, 65536, 1) == SIGDCA_INVALID_ARGUMENT, "65536 values");
  expect(write(encoder.coder, 1, 5, 1, 1) == SIGDCA_LEVEL, "a place behind the end");
  expect(write(encoder.coder, 0, 9, 1, 1) == SIGDCA_LEVEL, "a level of 0");
  expect(write(encoder.coder, 2, 9, 1, 1) == SIGDCA_LEVEL, "a level beyond its limit");
  expect(write(encoder.coder, -1, 9, 0, 1) == SIGDCA_LEVEL, "a negative level, and no such value");
  const uint32_t twice[2] = {3, 3};
  const int32_t ones[2] = {1, 1};
  expect(sigdca_coder_sparse(encoder.coder, twice, ones, 2, 9, 1, 1, &error) == SIGDCA_LEVEL,
         "a place twice");
  const float values[2] = {-1, 1};
  float weights[4] = {};
  uint8_t used[2] = {};
  const auto read = [&](sigdca_coder *coder, uint32_t count, uint32_t negative) {
    const sigdca_chunk chunk = {values, negative, 1, weights, 4, used};
    return sigdca_coder_sparse_weights(coder, count, &chunk, "here", &error);
  };
  expect(read(encoder.coder, 1, 1) == SIGDCA_INVALID_ARGUMENT, "an encoder that reads");
  expect(read(decoder.coder, 5, 1) == SIGDCA_INVALID_ARGUMENT, "five of four weights");
  expect(read(decoder.coder, 1, 65536) == SIGDCA_INVALID_ARGUMENT, "65536 values");
}

void wrong_rans_calls() {
  sigdca_error error;
  Frequencies even(257);
  std::fill(even.begin(), even.begin() + 256, 16);
  uint8_t out[18];
  size_t bytes = 0;
  const auto write = [&](uint8_t symbol, const Frequencies &frequencies) {
    return sigdca_rans_encode(&symbol, 1, frequencies.data(),
                              static_cast<uint32_t>(frequencies.size()), out, &bytes, &error);
  };
  expect(write(0, even) == SIGDCA_INVALID_ARGUMENT, "an alphabet of 257");
  expect(write(0, {4095}) == SIGDCA_INVALID_ARGUMENT, "a sum of 4095");
  expect(write(0, {-1, 4097}) == SIGDCA_INVALID_ARGUMENT, "a frequency below 0");
  expect(write(0, {0, 4096}) == SIGDCA_INVALID_ARGUMENT, "a symbol without a frequency");
  expect(write(2, {0, 4096}) == SIGDCA_INVALID_ARGUMENT, "a symbol that is none");
  expect(write(1, {0, 4096}) == SIGDCA_OK && bytes == 16, "a symbol that is certain");
  const float values[1] = {1};
  float weights[4] = {};
  uint8_t used[1] = {};
  const Frequencies certain = {4096};
  const auto read = [&](uint32_t structure, const Frequencies &frequencies, uint32_t size) {
    const sigdca_chunk chunk = {values, 0, 1, weights, size, used};
    return sigdca_rans_decode(out, bytes, structure, frequencies.data(), certain.data(), &chunk,
                              "here", nullptr, &error);
  };
  expect(read(1, {4096, 0}, 4) == SIGDCA_INVALID_ARGUMENT, "gaps of one bit");
  expect(read(9, even, 4) == SIGDCA_INVALID_ARGUMENT, "gaps of nine bits");
  expect(read(2, {4095, 0, 0, 0}, 4) == SIGDCA_INVALID_ARGUMENT, "a sum of 4095");
  expect(read(2, {4096, 0, 0, 0}, 0) == SIGDCA_INVALID_ARGUMENT, "a chunk of nothing");
}

void values_are_found(std::minstd_rand &random) {
  std::vector<float> weights(1 + pick(random, 300)), values(65536);
  for (float &weight : weights)
    weight = pick(random, 3) ? static_cast<float>(pick(random, 9)) - 4.0f : -0.0f;
  std::vector<uint32_t> places(weights.size());
  std::vector<uint16_t> ids(weights.size());
  std::vector<float> again(weights.size());
  uint32_t num_values = 0;
  size_t count = 0;
  expect(sigdca_find_values(weights.data(), weights.size(), values.data(), &num_values,
                            places.data(), ids.data(), &count, nullptr) == SIGDCA_OK,
         "values are found");
  for (size_t index = 0; index < count; ++index) again[places[index]] = values[ids[index]];
  expect(again == weights && num_values <= 8, "the weights' own");
}

void values_without_end() {
  std::vector<float> weights(65536), values(65536);
  for (size_t index = 0; index < weights.size(); ++index)
    weights[index] = 1 + static_cast<float>(index);
  std::vector<uint32_t> places(weights.size());
  std::vector<uint16_t> ids(weights.size());
  uint32_t num_values = 0;
  size_t count = 0;
  sigdca_error error;
  const auto find = [&](size_t size) {
    return sigdca_find_values(weights.data(), size, values.data(), &num_values, places.data(),
                              ids.data(), &count, &error);
  };
  expect(find(65535) == SIGDCA_OK && num_values == 65535, "65535 values");
  expect(find(65535) == SIGDCA_OK && num_values == 65535, "no new ones");
  expect(find(65536) == SIGDCA_LIMIT, "65536 values");
}

}  // namespace

int main() {
  std::minstd_rand random(1);
  for (int number = 0; number < 3000; ++number) there_and_back(random, number % 10 == 0);
  for (int number = 0; number < 6000; ++number) damaged(random);
  for (int number = 0; number < 20; ++number) {
    const Chunk c = draw(random, 100);
    Bytes stream;
    expect(fail_each([&] {
             Found found(c);
             TRY(write_sparse(c, &stream));
             return read_sparse(c, stream, &found);
           }) > 2,
           "allocations of sparse levels");
    const Rans rans = write_rans(c, any_structure(random));
    expect(fail_each([&] {
             Found found(c);
             return read_rans(rans, &found);
           }) > 2,
           "allocations of rANS");
    values_are_found(random);
  }
  values_without_end();
  wrong_sparse_calls();
  wrong_rans_calls();
  return 0;
}
