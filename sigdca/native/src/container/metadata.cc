#include "container/metadata.h"

#include "container/text.h"

namespace sigdca {
namespace {

constexpr size_t kMaxBytes = 65536;
// Lists and objects in one another. A canonical section has one; Python's reader, too, gives up at
// a depth of its own.
constexpr int kMaxDepth = 64;

// A string in JSON, between its quotes: checked already, so its characters can just be taken.
struct String {
  const uint8_t *data;
  size_t size;
};

bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

bool is_high(uint32_t character) { return character >= 0xD800 && character < 0xDC00; }
bool is_low(uint32_t character) { return character >= 0xDC00 && character < 0xE000; }

// The number of four hex digits, or -1.
int32_t hex4(const uint8_t *data, size_t left) {
  if (left < 4) return -1;
  int32_t value = 0;
  for (int index = 0; index < 4; ++index) {
    const uint8_t byte = data[index];
    const int digit = is_digit(byte)                 ? byte - '0'
                      : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                      : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                   : -1;
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

// What follows a backslash for this character where JSON has a short escape; 0: none.
uint8_t short_escape(uint32_t character) {
  switch (character) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return 0;
  }
}

// Takes the escape at data[*at], a backslash. `canonical` becomes false if Python's writer would
// have written the character otherwise. False: it is none.
bool next_escape(const uint8_t *data, size_t size, size_t *at, uint32_t *character,
                 bool *canonical) {
  if (size - *at < 2) return false;
  const uint8_t kind = data[*at + 1];
  if (kind != 'u') {
    static const char kFrom[] = "\"\\/bfnrt", kTo[] = "\"\\/\b\f\n\r\t";
    int index = 0;
    while (kFrom[index] != '\0' && static_cast<uint8_t>(kFrom[index]) != kind) ++index;
    if (kFrom[index] == '\0') return false;
    *character = static_cast<uint8_t>(kTo[index]);
    if (kind == '/') *canonical = false;
    *at += 2;
    return true;
  }
  const int32_t first = hex4(data + *at + 2, size - *at - 2);
  if (first < 0) return false;
  *character = static_cast<uint32_t>(first);
  for (size_t index = *at + 2; index < *at + 6; ++index) {
    if (data[index] < 'a' && !is_digit(data[index])) *canonical = false;  // digits are small
  }
  if (*character >= 32 || short_escape(*character) != 0) *canonical = false;
  *at += 6;
  if (!is_high(*character) || size - *at < 2 || data[*at] != '\\' || data[*at + 1] != 'u')
    return true;
  const int32_t second = hex4(data + *at + 2, size - *at - 2);
  if (second < 0) return false;
  if (!is_low(static_cast<uint32_t>(second))) return true;
  *character = 0x10000 + ((*character - 0xD800) << 10) + (static_cast<uint32_t>(second) - 0xDC00);
  *at += 6;
  return true;
}

// The character of a string at data[*at], escaped or not. False: it is none.
bool next_in_string(const uint8_t *data, size_t size, size_t *at, uint32_t *character,
                    bool *canonical) {
  if (data[*at] == '\\') return next_escape(data, size, at, character, canonical);
  return data[*at] >= 32 && next_character(data, size, at, character);
}

// As Python compares text: by characters.
int compare(const String &left, const String &right) {
  size_t left_at = 0, right_at = 0;
  bool ignored = true;
  while (left_at < left.size && right_at < right.size) {
    uint32_t one = 0, other = 0;
    next_in_string(left.data, left.size, &left_at, &one, &ignored);
    next_in_string(right.data, right.size, &right_at, &other, &ignored);
    if (one != other) return one < other ? -1 : 1;
  }
  if (left_at < left.size) return 1;
  return right_at < right.size ? -1 : 0;
}

// Python's repr of the first 40 characters.
Text describe(const String &string) {
  uint32_t characters[40];
  int count = 0;
  bool ignored = true, single = false, twofold = false;
  for (size_t at = 0; at < string.size && count < 40; ++count) {
    next_in_string(string.data, string.size, &at, &characters[count], &ignored);
    single |= characters[count] == '\'';
    twofold |= characters[count] == '"';
  }
  const char quote = single && !twofold ? '"' : '\'';
  Text text;
  text.add(quote);
  for (int index = 0; index < count; ++index) add_escaped(&text, characters[index], quote);
  text.add(quote);
  return text;
}

// Reads JSON as Python's json.loads does, and notes what a canonical object of strings may not
// have.
class Reader {
 public:
  Reader(const uint8_t *data, size_t size) : data_(data), size_(size) {}

  // Whether the whole is JSON: an object with at least one key.
  bool read();

  bool canonical() const { return canonical_; }
  // Of the first value that is no string: what Python calls it, and its key. Null: there is none.
  const char *other_type() const { return other_type_; }
  const String &other_key() const { return other_key_; }
  // Where Python's writer would put the first half of a character; -1: there is none.
  int64_t half_at() const { return half_at_; }

 private:
  bool at_end() const { return at_ == size_; }
  uint8_t peek() const { return at_ < size_ ? data_[at_] : 0; }
  bool take(uint8_t byte);
  bool take_word(const char *word);
  void skip_spaces();
  bool read_string(String *string);
  bool read_number(const char **type);
  bool read_scalar(const char **type);
  bool read_value(const char **type);
  bool open(uint8_t byte);
  bool read_key(String *key);

  const uint8_t *data_;
  size_t size_, at_ = 0;
  uint64_t is_object_ = 0;  // a bit a level, the innermost lowest
  int depth_ = 0;
  bool canonical_ = true;
  const char *other_type_ = nullptr;
  String other_key_{};
  int64_t half_at_ = -1;
  int64_t written_ = 0;  // characters that Python's writer would have written up to here
};

bool Reader::take(uint8_t byte) {
  if (at_ == size_ || data_[at_] != byte) return false;
  ++at_;
  return true;
}

bool Reader::take_word(const char *word) {
  size_t length = 0;
  for (; word[length] != '\0'; ++length) {
    if (at_ + length >= size_ || data_[at_ + length] != static_cast<uint8_t>(word[length]))
      return false;
  }
  at_ += length;
  return true;
}

void Reader::skip_spaces() {
  while (at_ < size_ &&
         (data_[at_] == ' ' || data_[at_] == '\t' || data_[at_] == '\n' || data_[at_] == '\r')) {
    ++at_;
    canonical_ = false;
  }
}

bool Reader::read_string(String *string) {
  if (!take('"')) return false;
  const size_t begin = at_;
  ++written_;
  while (at_ < size_ && data_[at_] != '"') {
    uint32_t character = 0;
    if (!next_in_string(data_, size_, &at_, &character, &canonical_)) return false;
    if (half_at_ < 0 && (is_high(character) || is_low(character))) half_at_ = written_;
    written_ += short_escape(character) != 0 ? 2 : character < 32 ? 6 : 1;
  }
  ++written_;
  *string = {data_ + begin, at_ - begin};
  return take('"');
}

bool Reader::read_number(const char **type) {
  *type = "int";
  const size_t begin = at_;
  take('-');
  if (take_word("Infinity")) {
    *type = "float";
    return true;
  }
  if (!is_digit(peek())) {
    at_ = begin;
    return false;
  }
  if (!take('0')) {
    while (is_digit(peek())) ++at_;
  }
  // A point or an exponent without digits belongs to no number: what follows finds it wrong.
  if (peek() == '.' && at_ + 1 < size_ && is_digit(data_[at_ + 1])) {
    *type = "float";
    for (++at_; is_digit(peek());) ++at_;
  }
  if (peek() == 'e' || peek() == 'E') {
    size_t digits = at_ + 1;
    if (digits < size_ && (data_[digits] == '+' || data_[digits] == '-')) ++digits;
    if (digits < size_ && is_digit(data_[digits])) {
      *type = "float";
      for (at_ = digits; is_digit(peek());) ++at_;
    }
  }
  return true;
}

bool Reader::read_scalar(const char **type) {
  if (take_word("true") || take_word("false")) {
    *type = "bool";
    return true;
  }
  if (take_word("null")) {
    *type = "NoneType";
    return true;
  }
  if (take_word("NaN")) {
    *type = "float";
    return true;
  }
  return read_number(type);
}

bool Reader::open(uint8_t byte) {
  if (depth_ == kMaxDepth) return false;
  is_object_ = is_object_ << 1 | (byte == '{');
  ++depth_;
  ++at_;
  return true;
}

// A key and its colon.
bool Reader::read_key(String *key) {
  skip_spaces();
  if (!read_string(key)) return false;
  skip_spaces();
  if (!take(':')) return false;
  ++written_;
  skip_spaces();
  return true;
}

// A value of the outer object with all that is in it; without recursion.
bool Reader::read_value(const char **type) {
  const int outer = depth_;
  const char *inner_type = "str";
  String ignored;
  *type = peek() == '[' ? "list" : peek() == '{' ? "dict" : nullptr;
  const char **scalar_type = *type == nullptr ? type : &inner_type;
  for (;;) {
    // Here a value begins.
    const uint8_t first = peek();
    if (first == '[' || first == '{') {
      if (!open(first)) return false;
      skip_spaces();
      const bool empty = take(first == '[' ? ']' : '}');
      if (!empty) {
        if (first == '{' && !read_key(&ignored)) return false;
        continue;
      }
      is_object_ >>= 1;
      --depth_;
    } else if (first == '"') {
      if (!read_string(&ignored)) return false;
      *scalar_type = "str";
    } else if (!read_scalar(scalar_type)) {
      return false;
    }
    // Here one has ended; perhaps more with it.
    for (;;) {
      if (depth_ == outer) return true;
      skip_spaces();
      const bool in_object = is_object_ & 1;
      if (take(',')) {
        if (in_object && !read_key(&ignored)) return false;
        skip_spaces();
        break;
      }
      if (!take(in_object ? '}' : ']')) return false;
      is_object_ >>= 1;
      --depth_;
    }
  }
}

bool Reader::read() {
  skip_spaces();
  if (peek() != '{' || !open('{')) return false;
  ++written_;
  skip_spaces();
  String before{}, key{};
  for (bool is_first = true;; is_first = false) {
    if (!read_key(&key)) return false;
    if (!is_first && compare(before, key) >= 0) canonical_ = false;
    before = key;
    const char *type = nullptr;
    if (!read_value(&type)) return false;
    if (type[0] != 's' && other_type_ == nullptr) {
      other_type_ = type;
      other_key_ = key;
    }
    skip_spaces();
    if (take('}')) break;
    if (!take(',')) return false;
    ++written_;
  }
  skip_spaces();
  return at_end();
}

}  // namespace

sigdca_status check_metadata(const Context &context, const uint8_t *data, size_t bytes) {
  if (bytes > kMaxBytes) {
    return context.fail(SIGDCA_METADATA, "metadata: has %zu bytes, limit %zu", bytes, kMaxBytes);
  }
  Reader reader(data, bytes);
  if (!reader.read()) {
    return context.fail(SIGDCA_METADATA,
                        "metadata: must be a JSON object in UTF-8 with at least one key");
  }
  if (reader.other_type() != nullptr) {
    return context.fail(SIGDCA_METADATA, "metadata: must be text to text, got str to %s at %s",
                        reader.other_type(), describe(reader.other_key()).get());
  }
  if (reader.half_at() >= 0) {
    return context.fail(SIGDCA_METADATA, "metadata: not Unicode text at character %lld",
                        static_cast<long long>(reader.half_at()));
  }
  if (!reader.canonical()) {
    return context.fail(SIGDCA_METADATA,
                        "metadata: must be canonical: keys sorted, none twice, no spaces");
  }
  return SIGDCA_OK;
}

}  // namespace sigdca
