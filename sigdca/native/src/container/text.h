// Words of error messages, the same as sigdca/codec's: what Python's repr and str make of values.
#pragma once

#include "container/graph.h"

namespace sigdca {

// A short text under construction; what does not fit is cut.
class Text {
 public:
  void add(const char *format, ...) __attribute__((format(printf, 2, 3)));
  void add(char byte);
  const char *get() const { return data_; }

 private:
  char data_[300] = "";
  size_t size_ = 0;
};

// Decodes the character at data[*at], moves behind it. False if it is not UTF-8 as Unicode defines
// it (the shortest form, no surrogate, at most U+10FFFF); *at stays then.
bool next_character(const uint8_t *data, size_t bytes, size_t *at, uint32_t *character);

// Adds a character of a text in single quotes as Python's repr does, but for what Unicode calls not
// printable beyond U+00FF, which would need Unicode's tables.
void add_escaped(Text *text, uint32_t character, char quote);

// A number as Python writes it: the fewest digits that give the same bits (of a double).
Text describe(double value);

// A whole number below 2^128.
Text describe(unsigned __int128 value);

}  // namespace sigdca
