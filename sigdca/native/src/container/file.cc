#include "container/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/layout.h"

namespace sigdca {
namespace {

#ifdef MAP_POPULATE
constexpr int kAllPages = MAP_POPULATE;
#else
constexpr int kAllPages = 0;
#endif

// Opening a container reads every byte for its checksum: take all pages at once. Of another file,
// which may be a disk's image, only the beginning is looked at.
int map_flags(int file) {
  uint8_t first[sizeof kMagic];
  const bool is_container = pread(file, first, sizeof first, 0) == sizeof first &&
                            memcmp(first, kMagic, sizeof first) == 0;
  return MAP_PRIVATE | (is_container ? kAllPages : 0);
}

sigdca_status map_open_file(const Context &context, const char *path, int file,
                            const uint8_t **data, size_t *bytes) {
  struct stat info;
  if (fstat(file, &info) != 0) return context.fail(SIGDCA_IO, "%s: cannot be read: %m", path);
  if (!S_ISREG(info.st_mode)) return context.fail(SIGDCA_IO, "%s: is no file", path);
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  if (size > SIZE_MAX / 2) {
    return context.fail(SIGDCA_IO, "%s: has %llu bytes, more than can be mapped", path,
                        static_cast<unsigned long long>(size));
  }
  *bytes = static_cast<size_t>(size);
  if (*bytes == 0) return SIGDCA_OK;
  void *memory = mmap(nullptr, *bytes, PROT_READ, map_flags(file), file, 0);
  if (memory == MAP_FAILED) return context.fail(SIGDCA_IO, "%s: cannot be mapped: %m", path);
  *data = static_cast<const uint8_t *>(memory);
  return SIGDCA_OK;
}

}  // namespace

sigdca_status map_file(const Context &context, const char *path, const uint8_t **data,
                       size_t *bytes) {
  static const uint8_t kNothing = 0;
  *data = &kNothing;
  *bytes = 0;
  int file;
  do {
    // A pipe must not keep the caller waiting for a writer.
    file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } while (file < 0 && errno == EINTR);
  if (file < 0) return context.fail(SIGDCA_IO, "%s: cannot be opened: %m", path);
  const sigdca_status status = map_open_file(context, path, file, data, bytes);
  close(file);
  return status;
}

void unmap_file(const uint8_t *data, size_t bytes) {
  if (bytes != 0) munmap(const_cast<uint8_t *>(data), bytes);
}

}  // namespace sigdca
