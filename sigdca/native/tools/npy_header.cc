#include "npy_header.h"

#include <string.h>

namespace dca_run {
namespace {

class Text {
 public:
  Text(const char *text, size_t length) : at_(text), end_(text + length) {}

  // Skips blanks; takes `word` if it is next.
  bool take(const char *word) {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n')) ++at_;
    const size_t length = strlen(word);
    if (static_cast<size_t>(end_ - at_) < length || memcmp(at_, word, length) != 0) return false;
    at_ += length;
    return true;
  }

  bool take_number(uint64_t *number) {
    take("");
    const char *const start = at_;
    *number = 0;
    for (; at_ != end_ && *at_ >= '0' && *at_ <= '9'; ++at_)
      if (__builtin_mul_overflow(*number, uint64_t{10}, number) ||
          __builtin_add_overflow(*number, static_cast<uint64_t>(*at_ - '0'), number))
        return false;
    return at_ != start;
  }

  bool take_char(char *c) {
    if (at_ == end_) return false;
    *c = *at_++;
    return true;
  }

  bool at_end() {
    take("");
    return at_ == end_;
  }

 private:
  const char *at_, *end_;
};

// '<f4' and the like.
bool read_type(Text *text, NpyHeader *header) {
  char order = 0;
  uint64_t bytes = 0;
  if (!text->take("'") || !text->take_char(&order) || !text->take_char(&header->kind) ||
      !text->take_number(&bytes) || !text->take("'"))
    return false;
  if (strchr("<>|=", order) == nullptr || order == 0 || bytes == 0 || bytes > 64) return false;
  header->big_endian = order == '>';
  header->item_bytes = static_cast<uint32_t>(bytes);
  return true;
}

bool read_shape(Text *text, NpyHeader *header) {
  if (!text->take("(")) return false;
  for (header->rank = 0; !text->take(")");) {
    if (header->rank == sizeof header->shape / sizeof header->shape[0]) return false;
    if (!text->take_number(&header->shape[header->rank++])) return false;
    if (!text->take(",")) return text->take(")") && header->rank > 1;
  }
  return true;
}

}  // namespace

const char *read_npy_header(const char *data, size_t length, NpyHeader *header) {
  Text text(data, length);
  bool has_type = false, has_order = false, has_shape = false;
  if (!text.take("{")) return "its header is no dictionary";
  for (bool more = true; !text.take("}"); more = text.take(",")) {
    if (!more) return "its header is no dictionary";
    bool *has = nullptr;
    bool good = false;
    if (text.take("'descr':")) {
      has = &has_type, good = read_type(&text, header);
    } else if (text.take("'fortran_order':")) {
      has = &has_order;
      header->fortran_order = text.take("True");
      good = header->fortran_order || text.take("False");
    } else if (text.take("'shape':")) {
      has = &has_shape, good = read_shape(&text, header);
    }
    if (has == nullptr || *has || !good) return "its header has an entry that is not known";
    *has = true;
  }
  if (!text.at_end()) return "its header has text behind its end";
  if (!has_type || !has_order || !has_shape) return "its header lacks an entry";
  return nullptr;
}

}  // namespace dca_run
