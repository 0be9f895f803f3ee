// Opens each container named on the command line, makes a session in every profile and on every
// instruction set, and runs it; over and over, with the first, the second, ... allocation failing
// until none is left to fail. Each failure must be told as such, and leave nothing behind.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sigdca.h"

namespace {

void require(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "broken promise: %s\n", what);
  abort();
}

// An allocator that knows what lives, and fails once.
struct Ledger {
  static constexpr int kMost = 65536;
  struct Entry {
    void *memory;
    size_t bytes;
  };
  Entry live[kMost];
  int num_live = 0;
  size_t bytes = 0, peak_bytes = 0;
  long count = 0, failing = 0;  // the allocation to fail, from 1; 0: none
  pthread_t owner = pthread_self();

  static void *allocate(void *context, size_t bytes, size_t alignment) {
    Ledger &ledger = *static_cast<Ledger *>(context);
    require(pthread_equal(ledger.owner, pthread_self()), "a worker allocates nothing");
    require(bytes > 0 && alignment > 0 && alignment <= 64 && (alignment & (alignment - 1)) == 0,
            "an alignment is a power of two, at most 64");
    if (++ledger.count == ledger.failing) return nullptr;
    void *memory = nullptr;
    require(posix_memalign(&memory, 64, bytes) == 0, "memory for the test");
    memset(memory, 0xA5, bytes);  // whoever takes it for zeros will be seen
    require(ledger.num_live < kMost, "room in the ledger");
    ledger.live[ledger.num_live++] = {memory, bytes};
    ledger.bytes += bytes;
    if (ledger.bytes > ledger.peak_bytes) ledger.peak_bytes = ledger.bytes;
    return memory;
  }

  static void release(void *context, void *memory, size_t bytes) {
    Ledger &ledger = *static_cast<Ledger *>(context);
    require(pthread_equal(ledger.owner, pthread_self()), "a worker releases nothing");
    int index = 0;
    while (index < ledger.num_live && ledger.live[index].memory != memory) ++index;
    require(index < ledger.num_live, "what is released was allocated");
    require(ledger.live[index].bytes == bytes, "it is released with its size");
    ledger.live[index] = ledger.live[--ledger.num_live];
    ledger.bytes -= bytes;
    free(memory);
  }
};

struct File {
  uint8_t *data;
  size_t bytes;
};

File read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  require(file != nullptr, path);
  fseek(file, 0, SEEK_END);
  const size_t bytes = ftell(file);
  rewind(file);
  uint8_t *data = static_cast<uint8_t *>(malloc(bytes));
  require(fread(data, 1, bytes, file) == bytes, "a whole file");
  fclose(file);
  return {data, bytes};
}

// Runs two images. Returns what came of it; only that a logit is not finite is as good as well.
sigdca_status run(sigdca_session *session, const sigdca_model *model, const Ledger &ledger) {
  sigdca_model_info info;
  sigdca_model_get_info(model, &info);
  const size_t pixels = size_t{info.input_channels} * info.input_height * info.input_width;
  uint8_t *images = static_cast<uint8_t *>(malloc(2 * pixels));
  float *logits = static_cast<float *>(malloc(2 * sizeof(float) * info.num_classes));
  for (size_t index = 0; index < 2 * pixels; ++index) images[index] = index * 37;
  sigdca_error error;
  const long before = ledger.count;
  sigdca_status status = sigdca_session_run(session, images, 2, logits, &error);
  require(ledger.count == before, "a run allocates nothing");
  if (status == SIGDCA_NOT_FINITE) status = SIGDCA_OK;
  free(images);
  free(logits);
  return status;
}

// A session tells the most that it has held.
void check_memory(const sigdca_session *session, size_t peak_bytes) {
  sigdca_session_info info;
  sigdca_session_get_info(session, &info);
  require(info.peak_bytes == peak_bytes, "a session tells its peak");
  require(info.peak_bytes > info.weight_bytes + info.activation_bytes, "all that it keeps is in it");
}

// From file to logits, with allocation number `failing` failing.
sigdca_status attempt(const File &file, const sigdca_session_options &options, long failing,
                      long *count) {
  Ledger *ledger = new Ledger;
  ledger->failing = failing;
  const sigdca_allocator allocator = {ledger, Ledger::allocate, Ledger::release};
  sigdca_error error = {};
  sigdca_model *model = nullptr;
  sigdca_session *session = nullptr;
  sigdca_status status =
      sigdca_model_open_memory(file.data, file.bytes, &allocator, &model, &error);
  require((model != nullptr) == (status == SIGDCA_OK), "a model where it succeeds, else none");
  if (status == SIGDCA_OK) {
    sigdca_model_info info;
    sigdca_model_get_info(model, &info);
    require(info.memory_bytes == ledger->bytes, "a model tells what it holds");
    const size_t before = ledger->peak_bytes = ledger->bytes;
    status = sigdca_session_create(model, &options, &session, &error);
    require((session != nullptr) == (status == SIGDCA_OK), "a session where it succeeds");
    if (session != nullptr) check_memory(session, ledger->peak_bytes - before);
  }
  require(status == error.status, "the error has the call's status");
  require((status == SIGDCA_OK) == (error.message[0] == '\0'), "each failure has a message");
  if (status == SIGDCA_OK) status = run(session, model, *ledger);
  sigdca_session_close(session);
  sigdca_model_close(model);
  require(ledger->num_live == 0, "nothing is left behind");
  *count = ledger->count;
  delete ledger;
  return status;
}

// Returns how many allocations there are.
long fail_each(const File &file, const sigdca_session_options &options) {
  long count = 0;
  const sigdca_status status = attempt(file, options, 0, &count);
  if (status == SIGDCA_UNSUPPORTED) return 0;
  require(status == SIGDCA_OK, "it runs when nothing fails");
  const long total = count;
  for (long failing = 1; failing <= total; ++failing) {
    require(attempt(file, options, failing, &count) == SIGDCA_OUT_OF_MEMORY,
            "a failed allocation is told as such");
    require(count >= failing, "the allocations come in the same order");
  }
  return total;
}

}  // namespace

int main(int num_arguments, char **arguments) {
  long total = 0;
  for (int index = 1; index < num_arguments; ++index) {
    const File file = read_file(arguments[index]);
    const char *isa = nullptr;
    for (uint32_t number = 0; (isa = sigdca_isa_name(number)) != nullptr; ++number) {
      for (int profile = SIGDCA_PROFILE_EXACT; profile <= SIGDCA_PROFILE_INT8; ++profile) {
        for (uint32_t threads = 1; threads <= 2; ++threads) {
          const sigdca_session_options options = {static_cast<sigdca_profile>(profile), threads, 2,
                                                  isa};
          total += fail_each(file, options);
        }
      }
    }
    free(file.data);
  }
  printf("%ld\n", total);
  return 0;
}
