#include "arrays.h"

#include <stdio.h>
#include <string.h>

#include "npy_header.h"

namespace dca_run {

int ArrayFile::open(const char *path) {
  path_ = path;
  const int code = file_.open(path);
  if (code != kDone) return code;
  if (file_.bytes >= 10 && memcmp(file_.data, "\x93NUMPY", 6) == 0) return read_npy();
  if (file_.bytes >= 4 && file_.data[0] == 0 && file_.data[1] == 0) return read_idx();
  return complain(kBadInput, "%s: is neither an idx file (unpacked) nor a .npy file", path);
}

// Two zeros, the type, the rank, then each size as a big-endian number of 32 bits.
int ArrayFile::read_idx() {
  if (file_.data[2] != 0x08)
    return complain(kBadInput, "%s: idx type must be 0x08 (bytes), got 0x%02x", path_,
                    file_.data[2]);
  rank_ = file_.data[3];
  if (rank_ < 1 || rank_ > kMaxRank)
    return complain(kBadInput, "%s: idx rank must be 1 to %u, got %u", path_, kMaxRank, rank_);
  const size_t header_bytes = 4 + 4 * size_t{rank_};
  if (file_.bytes < header_bytes)
    return complain(kBadInput, "%s: ends within its header, after %zu bytes", path_, file_.bytes);
  for (uint32_t i = 0; i < rank_; ++i) {
    const uint8_t *const at = file_.data + 4 + 4 * size_t{i};
    shape_[i] = uint64_t{at[0]} << 24 | uint64_t{at[1]} << 16 | uint64_t{at[2]} << 8 | at[3];
  }
  return check_length(header_bytes);
}

int ArrayFile::read_npy() {
  const uint8_t version = file_.data[6];
  if (version < 1 || version > 3)
    return complain(kBadInput, "%s: .npy version must be 1 to 3, got %u", path_, version);
  const size_t start = version == 1 ? 10 : 12;
  uint32_t length = 0;
  for (size_t i = start; i > 8 && file_.bytes >= start; --i)
    length = length << 8 | file_.data[i - 1];
  if (file_.bytes < start || file_.bytes - start < length)
    return complain(kBadInput, "%s: ends within its header, after %zu bytes", path_, file_.bytes);
  NpyHeader header{};
  const char *const wrong =
      read_npy_header(reinterpret_cast<const char *>(file_.data) + start, length, &header);
  if (wrong != nullptr) return complain(kBadInput, "%s: %s", path_, wrong);
  if (header.fortran_order && header.rank > 1)
    return complain(kBadInput, "%s: must be in C order, is in Fortran's", path_);
  if (header.big_endian && header.item_bytes > 1)
    return complain(kBadInput, "%s: must be little-endian", path_);
  if (header.rank < 1)
    return complain(kBadInput, "%s: must have at least one dimension", path_);
  kind_ = header.kind;
  item_bytes_ = header.item_bytes;
  rank_ = header.rank;
  memcpy(shape_, header.shape, sizeof shape_);
  return check_length(start + length);
}

int ArrayFile::check_length(size_t header_bytes) {
  uint64_t bytes = item_bytes_;
  bool fits = true;
  for (uint32_t i = 0; i < rank_; ++i) fits &= !__builtin_mul_overflow(bytes, shape_[i], &bytes);
  if (!fits || bytes != file_.bytes - header_bytes) {
    char shape[128];
    describe(shape, sizeof shape);
    return complain(kBadInput, "%s: has %zu bytes behind its header, which promises %s", path_,
                    file_.bytes - header_bytes, shape);
  }
  data_ = file_.data + header_bytes;
  return kDone;
}

int ArrayFile::check_images(const sigdca_model_info &model) const {
  const uint64_t wanted[3] = {model.input_channels, model.input_height, model.input_width};
  const uint32_t first = rank_ == 3 && wanted[0] == 1 ? 1 : 0;
  bool good = kind_ == 'u' && item_bytes_ == 1 && rank_ == 4 - first;
  for (uint32_t i = first; good && i < 3; ++i) good = shape_[1 + i - first] == wanted[i];
  if (!good) {
    char shape[128];
    describe(shape, sizeof shape);
    return complain(kBadInput, "%s: images must be uint8 [n, %u, %u, %u], got %s", path_,
                    model.input_channels, model.input_height, model.input_width, shape);
  }
  return count() != 0 ? kDone : complain(kBadInput, "%s: holds no image", path_);
}

int ArrayFile::check_labels(uint64_t images, uint64_t used, uint32_t num_classes) const {
  const bool known = (kind_ == 'u' && item_bytes_ == 1) ||
                     (kind_ == 'i' && (item_bytes_ == 4 || item_bytes_ == 8));
  if (!known || rank_ != 1 || count() != images) {
    char shape[128];
    describe(shape, sizeof shape);
    return complain(kBadInput, "%s: labels must be uint8, int32 or int64 [%llu], got %s", path_,
                    static_cast<unsigned long long>(images), shape);
  }
  for (uint64_t i = 0; i < used; ++i)
    if (label(i) < 0 || label(i) >= int64_t{num_classes})
      return complain(kBadInput, "%s: label %llu must be 0 to %u, got %lld", path_,
                      static_cast<unsigned long long>(i), num_classes - 1,
                      static_cast<long long>(label(i)));
  return kDone;
}

int64_t ArrayFile::label(uint64_t index) const {
  const uint8_t *const at = data_ + index * item_bytes_;  // may lie at any address
  if (item_bytes_ == 1) return *at;
  if (item_bytes_ == 4) {
    int32_t value;
    memcpy(&value, at, sizeof value);
    return value;
  }
  int64_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

void ArrayFile::describe(char *text, size_t room) const {
  int at = snprintf(text, room, "%c%u [", kind_, item_bytes_);
  for (uint32_t i = 0; i < rank_ && at > 0 && static_cast<size_t>(at) < room; ++i)
    at += snprintf(text + at, room - static_cast<size_t>(at), "%s%llu", i == 0 ? "" : ", ",
                   static_cast<unsigned long long>(shape_[i]));
  if (at > 0 && static_cast<size_t>(at) < room)
    snprintf(text + at, room - static_cast<size_t>(at), "]");
}

}  // namespace dca_run
