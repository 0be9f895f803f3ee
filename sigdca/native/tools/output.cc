#include "output.h"

#include <stdio.h>
#include <string.h>

namespace dca_run {
namespace {

// The bytes of the UTF-8 sequence at `text`; 0 if there is none.
size_t utf8_length(const unsigned char *text) {
  if (text[0] < 0x80) return 1;
  const size_t length = text[0] < 0xc2   ? 0
                        : text[0] < 0xe0 ? 2
                        : text[0] < 0xf0 ? 3
                        : text[0] < 0xf5 ? 4
                                         : 0;
  for (size_t i = 1; i < length; ++i)
    if ((text[i] & 0xc0) != 0x80) return 0;
  if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
      (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
    return 0;
  return length;
}

// A JSON string. A file's name may hold any bytes: those that are no UTF-8 become U+FFFD.
void print_string(const char *text) {
  putchar('"');
  const auto *at = reinterpret_cast<const unsigned char *>(text);
  while (*at != 0) {
    const size_t length = utf8_length(at);
    if (length == 0)
      fputs("\\ufffd", stdout);
    else if (*at < 0x20)
      printf("\\u%04x", static_cast<unsigned>(*at));
    else if (*at == '"' || *at == '\\')
      putchar('\\'), putchar(*at);
    else
      fwrite(at, 1, length, stdout);
    at += length == 0 ? 1 : length;
  }
  putchar('"');
}

}  // namespace

Output::Output(bool json) : json_(json) {
  if (json_) putchar('{');
}

void Output::end() {
  if (json_) fputs("}\n", stdout);
}

void Output::separate() {
  if (!first_) fputs(json_ ? ", " : list_ != nullptr ? "  " : "", stdout);
  first_ = false;
}

void Output::key(const char *name) {
  separate();
  if (json_)
    print_string(name), fputs(": ", stdout);
  else
    printf(list_ != nullptr ? "%s " : "%s: ", name);
}

void Output::end_value() {
  if (!json_ && list_ == nullptr) putchar('\n');
}

void Output::text(const char *name, const char *value) {
  key(name);
  if (json_)
    print_string(value);
  else
    fputs(*value != 0 ? value : "-", stdout);
  end_value();
}

void Output::number(const char *name, uint64_t value) {
  key(name);
  printf("%llu", static_cast<unsigned long long>(value));
  end_value();
}

void Output::flag(const char *name, bool value) {
  key(name);
  fputs(value ? "true" : "false", stdout);
  end_value();
}

void Output::real(const char *name, double value, int decimals) {
  key(name);
  printf("%.*f", decimals, value);
  end_value();
}

void Output::numbers(const char *name, const uint32_t *values, size_t count) {
  key(name);
  if (json_) putchar('[');
  for (size_t i = 0; i < count; ++i)
    printf("%s%u", i == 0 ? "" : json_ ? ", " : "x", static_cast<unsigned>(values[i]));
  if (json_) putchar(']');
  end_value();
}

void Output::words(const char *name, const char *(*word)(uint32_t index)) {
  key(name);
  if (json_) putchar('[');
  for (uint32_t i = 0; word(i) != nullptr; ++i) {
    if (i != 0) fputs(json_ ? ", " : " ", stdout);
    if (json_)
      print_string(word(i));
    else
      fputs(word(i), stdout);
  }
  if (json_) putchar(']');
  end_value();
}

void Output::begin_list(const char *name) {
  if (json_) key(name), putchar('[');
  list_ = name;
  first_ = true;
}

void Output::begin_item() {
  if (json_) {
    separate(), putchar('{');
  } else {
    fputs("  ", stdout);
  }
  first_ = true;
}

void Output::end_item() {
  fputs(json_ ? "}" : "\n", stdout);
  first_ = false;
}

void Output::end_list() {
  if (json_) putchar(']');
  list_ = nullptr;
  first_ = false;
}

}  // namespace dca_run
