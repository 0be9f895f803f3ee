// Levels through an encoder and a decoder; wrong calls; every allocation failed once.
#include <string.h>

#include "coder_check.h"

using namespace sigdca_check;

namespace {

struct Case {
  std::vector<int32_t> levels;
  uint32_t rows, columns, stride, negative, positive;
};

sigdca_status code(Coder *coder, const Case &c, int32_t *levels, uint32_t *plain) {
  TRY(sigdca_coder_plain(coder->coder, 17, plain, nullptr));
  return sigdca_coder_levels(coder->coder, levels, c.rows, c.columns, c.stride, c.negative,
                             c.positive, nullptr);
}

sigdca_status there_and_back(const Case &c) {
  Coder encoder, decoder;
  TRY(sigdca_coder_create(nullptr, 0, &kAllocator, &encoder.coder, nullptr));
  std::vector<int32_t> levels = c.levels;
  uint32_t plain = 99999;
  TRY(code(&encoder, c, levels.data(), &plain));
  const void *data = nullptr;
  size_t bytes = 0;
  TRY(sigdca_coder_finish(encoder.coder, &data, &bytes, nullptr));
  std::vector<uint8_t> exact(static_cast<const uint8_t *>(data),
                             static_cast<const uint8_t *>(data) + bytes);
  TRY(sigdca_coder_create(exact.data() == nullptr ? &bytes : static_cast<void *>(exact.data()),
                          bytes, &kAllocator, &decoder.coder, nullptr));
  std::vector<int32_t> found(c.levels.size(), -7);
  uint32_t got = 0;
  TRY(code(&decoder, c, found.data(), &got));
  TRY(sigdca_coder_finish(decoder.coder, nullptr, nullptr, nullptr));
  if (found != c.levels || got != plain || levels != c.levels) {
    printf("%u x %u, stride %u: not the same\n", c.rows, c.columns, c.stride);
    exit(1);
  }
  return SIGDCA_OK;
}

Case draw(std::minstd_rand &random, bool wide) {
  const auto pick = [&](uint32_t count) { return static_cast<uint32_t>(random() / 7 % count); };
  Case c{};
  c.rows = 1 + pick(20), c.columns = 1 + pick(60);
  c.stride = pick(3) == 0 ? 0 : 2 + pick(80);
  c.negative = pick(4) == 0 ? 0 : 1 + pick(wide ? 65535 : 5);
  c.positive = c.negative == 0 || pick(4) ? 1 + pick(wide ? 65535 : 5) : 0;
  const uint32_t density = pick(101);
  for (uint32_t left_over = c.rows * c.columns; left_over > 0; --left_over) {
    const bool below = c.positive == 0 || (c.negative > 0 && pick(2));
    const int32_t size = static_cast<int32_t>(1 + pick(below ? c.negative : c.positive));
    c.levels.push_back(pick(100) >= density ? 0 : below ? -size : size);
  }
  return c;
}

void wrong_calls() {
  sigdca_error error;
  Coder coder;
  expect(sigdca_coder_create(nullptr, 0, nullptr, nullptr, &error) == SIGDCA_INVALID_ARGUMENT,
         "no place for a coder");
  expect(sigdca_coder_create(nullptr, 0, nullptr, &coder.coder, &error) == SIGDCA_OK, "a coder");
  uint32_t value = 0;
  int32_t levels[4] = {1, 0, 3, -1};
  expect(sigdca_coder_plain(coder.coder, 33, &value, &error) == SIGDCA_INVALID_ARGUMENT, "33 bits");
  const auto code = [&](uint32_t stride, uint32_t negative, uint32_t positive) {
    return sigdca_coder_levels(coder.coder, levels, 1, 4, stride, negative, positive, &error);
  };
  expect(code(1, 3, 3) == SIGDCA_INVALID_ARGUMENT, "a stride of 1");
  expect(code((1u << 28) + 1, 3, 3) == SIGDCA_INVALID_ARGUMENT, "a stride beyond 2^28");
  expect(code(0, 65536, 3) == SIGDCA_INVALID_ARGUMENT, "65536 values");
  expect(code(0, 1, 2) == SIGDCA_LEVEL, "a level beyond its limit");
  expect(code(0, 0, 3) == SIGDCA_LEVEL, "a negative level, and no such values");
  sigdca_coder_free(nullptr);
}

}  // namespace

int main() {
  std::minstd_rand random(1);
  for (int number = 0; number < 3000; ++number)
    expect(there_and_back(draw(random, number % 3 == 0)) == SIGDCA_OK, "there and back");
  for (int number = 0; number < 20; ++number) {
    const Case c = draw(random, false);
    expect(fail_each([&] { return there_and_back(c); }) > 3, "allocations that fail");
  }
  wrong_calls();
  return 0;
}
