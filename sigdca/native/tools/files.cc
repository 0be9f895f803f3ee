#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dca_run.h"

namespace dca_run {

MappedFile::~MappedFile() {
  if (data != nullptr) munmap(const_cast<uint8_t *>(data), bytes);
}

int MappedFile::open(const char *path) {
  // A pipe without a writer must not be waited for.
  const int file = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return complain(kBadInput, "%s: %s", path, strerror(errno));
  struct stat status {};
  const int failed = fstat(file, &status);
  if (failed != 0 || !S_ISREG(status.st_mode) || status.st_size <= 0) {
    close(file);
    return complain(kBadInput, "%s: must be a file that is not empty", path);
  }
  void *mapped =
      mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
  const int error = errno;
  close(file);
  if (mapped == MAP_FAILED) return complain(kFault, "%s: %s", path, strerror(error));
  data = static_cast<const uint8_t *>(mapped);
  bytes = static_cast<size_t>(status.st_size);
  return kDone;
}

NpyWriter::~NpyWriter() {
  if (file_ >= 0) close(file_), unlink(temporary_);
  free(temporary_);
}

int NpyWriter::open(const char *path, uint64_t rows, uint64_t cols) {
  path_ = path;
  const size_t room = strlen(path) + 32;
  temporary_ = static_cast<char *>(malloc(room));
  if (temporary_ == nullptr) return complain(kFault, "memory: no %zu bytes left", room);
  snprintf(temporary_, room, "%s.%ld.part", path, static_cast<long>(getpid()));
  constexpr int kNew = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  file_ = ::open(temporary_, kNew, 0666);
  if (file_ < 0 && errno == EEXIST) {  // what a process left that had this number and is no more
    unlink(temporary_);
    file_ = ::open(temporary_, kNew, 0666);
  }
  if (file_ < 0) return complain(kBadInput, "%s: %s", temporary_, strerror(errno));
  // Version 1.0; the header is filled up to 128 bytes, so that the values are aligned.
  char header[129];
  const int length = snprintf(
      header + 10, 119, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %llu), }",
      static_cast<unsigned long long>(rows), static_cast<unsigned long long>(cols));
  memset(header + 10 + length, ' ', static_cast<size_t>(117 - length));
  memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
  header[127] = '\n';
  return write_bytes(header, 128);
}

int NpyWriter::write(const float *values, size_t count) {
  return write_bytes(values, count * sizeof *values);
}

int NpyWriter::write_bytes(const void *data, size_t bytes) {
  const auto *at = static_cast<const uint8_t *>(data);
  while (bytes != 0) {
    const ssize_t written = ::write(file_, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return complain(kFault, "%s: %s", temporary_, strerror(errno));
    at += written, bytes -= static_cast<size_t>(written);
  }
  return kDone;
}

int NpyWriter::finish() {
  // On a board whose power fails, the name must not be there before the bytes are.
  if (fsync(file_) != 0 && errno != EINVAL)
    return complain(kFault, "%s: %s", temporary_, strerror(errno));
  if (rename(temporary_, path_) != 0)
    return complain(kFault, "%s: %s", path_, strerror(errno));
  close(file_);
  file_ = -1;
  return kDone;
}

}  // namespace dca_run
