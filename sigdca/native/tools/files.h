// Files: mapped to be read, or written whole under another name first.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace dca_run {

// A file's bytes, mapped: what is not looked at is not read.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  ~MappedFile();

  // Returns kDone or has complained. The file must not change afterwards.
  int open(const char *path);

  const uint8_t *data = nullptr;
  size_t bytes = 0;
};

// A .npy file of float32 [rows, cols]; there only if all of it has been written.
class NpyWriter {
 public:
  NpyWriter() = default;
  NpyWriter(const NpyWriter &) = delete;
  NpyWriter &operator=(const NpyWriter &) = delete;
  ~NpyWriter();  // takes away what is not finished

  // Each returns kDone or has complained.
  int open(const char *path, uint64_t rows, uint64_t cols);
  int write(const float *values, size_t count);
  int finish();

 private:
  int write_bytes(const void *data, size_t bytes);

  const char *path_ = nullptr;
  char *temporary_ = nullptr;
  int file_ = -1;
};

}  // namespace dca_run
