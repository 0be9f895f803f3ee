// Images and labels: idx files as MNIST's, and .npy files. Nothing in them is trusted.
#pragma once

#include "dca_run.h"
#include "files.h"

namespace dca_run {

class ArrayFile {
 public:
  // Maps the file and checks that it holds what its header says: no byte less, none more. Returns
  // kDone or has complained.
  int open(const char *path);

  // Whether it is uint8 [n, channels, height, width] (or [n, height, width] if there is one
  // channel), n >= 1. Returns kDone or has complained.
  int check_images(const sigdca_model_info &model) const;
  // Whether it is uint8, int32 or int64 [n] and the first `used` are below `num_classes`.
  int check_labels(uint64_t images, uint64_t used, uint32_t num_classes) const;

  uint64_t count() const { return shape_[0]; }
  const uint8_t *data() const { return data_; }
  int64_t label(uint64_t index) const;

 private:
  static constexpr uint32_t kMaxRank = 8;

  int read_idx();
  int read_npy();
  int check_length(size_t header_bytes);
  // "u1 [60000, 28, 28]": numpy's kind, bytes an item, shape.
  void describe(char *text, size_t room) const;

  MappedFile file_;
  const char *path_ = nullptr;
  const uint8_t *data_ = nullptr;
  uint64_t shape_[kMaxRank] = {};
  uint32_t rank_ = 0;
  char kind_ = 'u';         // numpy's: u, i, f, ...
  uint32_t item_bytes_ = 1;
};

}  // namespace dca_run
