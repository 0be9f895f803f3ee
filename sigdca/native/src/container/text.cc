#include "container/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace sigdca {

void Text::add(const char *format, ...) {
  const size_t room = sizeof data_ - size_;
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(data_ + size_, room, format, arguments);
  va_end(arguments);
  if (length > 0) size_ += static_cast<size_t>(length) < room ? length : room - 1;
}

void Text::add(char byte) {
  if (size_ + 1 >= sizeof data_) return;
  data_[size_++] = byte;
  data_[size_] = '\0';
}

bool next_character(const uint8_t *data, size_t bytes, size_t *at, uint32_t *character) {
  const uint8_t lead = data[*at];
  if (lead < 0x80) {
    *character = lead;
    ++*at;
    return true;
  }
  if (lead < 0xC2 || lead > 0xF4) return false;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (bytes - *at < length) return false;
  uint32_t value = lead & (0x7F >> length);
  for (size_t index = 1; index < length; ++index) {
    const uint8_t byte = data[*at + index];
    if ((byte & 0xC0) != 0x80) return false;
    value = value << 6 | (byte & 0x3F);
  }
  const uint32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
  if (value < least || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return false;
  *character = value;
  *at += length;
  return true;
}

void add_escaped(Text *text, uint32_t character, char quote) {
  if (character == '\n') return text->add("\\n");
  if (character == '\r') return text->add("\\r");
  if (character == '\t') return text->add("\\t");
  if (character == '\\' || character == static_cast<uint8_t>(quote)) text->add('\\');
  if (character < 32 || (character >= 127 && character <= 160) || character == 0xAD)
    return text->add("\\x%02x", character);
  if (character >= 0xD800 && character < 0xE000) return text->add("\\u%04x", character);
  if (character < 0x80) return text->add(static_cast<char>(character));
  // UTF-8: as many lead bits as bytes, then six bits a byte.
  const int more = character >= 0x10000 ? 3 : character >= 0x800 ? 2 : 1;
  text->add(static_cast<char>((0xFF00 >> (more + 1) & 0xFF) | character >> 6 * more));
  for (int index = more - 1; index >= 0; --index)
    text->add(static_cast<char>(0x80 | (character >> 6 * index & 0x3F)));
}

namespace {

// The digits of a number and the power of ten of the first.
struct Decimal {
  char digits[20];
  int count;
  int exponent;
};

Decimal shortest(double value) {
  char text[48];
  for (int precision = 0; precision < 17; ++precision) {
    snprintf(text, sizeof text, "%.*e", precision, value);
    if (strtod(text, nullptr) == value) break;
    // Above a power of two, numbers lie less close than below: there may be one just above that is
    // not the nearest of so few digits.
    char *const end = strchr(text, 'e');
    if (end == nullptr || end[-1] == '9') continue;
    ++end[-1];
    if (strtod(text, nullptr) == value) break;
  }
  // Between the digits is the locale's point, whatever that is.
  Decimal decimal{};
  const char *at = text;
  for (; *at != 'e' && *at != '\0'; ++at) {
    if (*at >= '0' && *at <= '9') decimal.digits[decimal.count++] = *at;
  }
  decimal.exponent = *at == 'e' ? atoi(at + 1) : 0;
  while (decimal.count > 1 && decimal.digits[decimal.count - 1] == '0') --decimal.count;
  return decimal;
}

}  // namespace

Text describe(double value) {
  Text text;
  if (isnan(value)) {
    text.add("nan");
    return text;
  }
  if (signbit(value)) text.add('-');
  if (isinf(value)) {
    text.add("inf");
    return text;
  }
  const Decimal decimal = shortest(signbit(value) ? -value : value);
  const bool scientific = value != 0 && (decimal.exponent < -4 || decimal.exponent >= 16);
  if (scientific) {
    text.add(decimal.digits[0]);
    if (decimal.count > 1) text.add('.');
    for (int index = 1; index < decimal.count; ++index) text.add(decimal.digits[index]);
    text.add("e%+03d", decimal.exponent);
    return text;
  }
  // Places before the point, the point, and at least one behind it.
  const int whole = decimal.exponent;
  const int last = whole - decimal.count + 1 < -1 ? whole - decimal.count + 1 : -1;
  for (int place = whole > 0 ? whole : 0; place >= last; --place) {
    if (place == -1) text.add('.');
    const int index = whole - place;
    text.add(index >= 0 && index < decimal.count ? decimal.digits[index] : '0');
  }
  return text;
}

Text describe(unsigned __int128 value) {
  // By hand: the compiler's division of 128 bits is in libgcc.
  uint32_t limbs[4];
  for (int limb = 0; limb < 4; ++limb) limbs[limb] = static_cast<uint32_t>(value >> 32 * limb);
  char digits[40];
  int first = sizeof digits - 1;
  digits[first] = '\0';
  do {
    uint64_t rest = 0;
    for (int limb = 3; limb >= 0; --limb) {
      rest = rest << 32 | limbs[limb];
      limbs[limb] = static_cast<uint32_t>(rest / 10);
      rest %= 10;
    }
    digits[--first] = static_cast<char>('0' + rest);
  } while ((limbs[0] | limbs[1] | limbs[2] | limbs[3]) != 0);
  Text text;
  text.add("%s", digits + first);
  return text;
}

}  // namespace sigdca
