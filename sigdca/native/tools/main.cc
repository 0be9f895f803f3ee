#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arguments.h"

namespace dca_run {

uint64_t start_ns = 0;
bool start_is_parents = false;

uint64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1000000000u + static_cast<uint64_t>(time.tv_nsec);
}

int complain(int code, const char *format, ...) {
  char line[1024];
  va_list values;
  va_start(values, format);
  vsnprintf(line, sizeof line, format, values);
  va_end(values);
  for (char *c = line; *c != 0; ++c)  // one line, whatever a file's name holds
    if (*c == '\n' || *c == '\r') *c = ' ';
  fprintf(stderr, "dca-run: %s\n", line);
  return code;
}

namespace {

constexpr char kHelp[] =
    "dca-run " DCA_RUN_VERSION ": runs a network straight from its compressed container\n"
    "\n"
    "  dca-run info FILE.dca [--json]\n"
    "  dca-run test FILE.dca --images X [--labels Y] [--num N] [--logits OUT.npy] [SETTINGS]\n"
    "  dca-run bench FILE.dca [--images X] [--warm-up N] [--runs N | --seconds S] [SETTINGS]\n"
    "\n"
    "  X          idx (as MNIST's files) or .npy: uint8 [n, C, H, W], [n, H, W] for one channel\n"
    "  Y          idx or .npy: uint8, int32 or int64 [n]\n"
    "  SETTINGS   --profile exact|fast|int8 (exact), --threads N (1), --batch N (1), --isa NAME\n"
    "             (the best that there is), --json, --no-times (for an emulator)\n"
    "\n"
    "Example: dca-run test lenet-5.dca --images t10k-images-idx3-ubyte \\\n"
    "             --labels t10k-labels-idx1-ubyte --threads 2 --batch 16\n"
    "Exit codes: 0 done, 2 bad input, 3 a fault on the way.\n";

void read_start() {
  start_ns = now_ns();
  const char *text = getenv("DCA_RUN_START_NS");
  if (text == nullptr) return;
  const unsigned long long parents = strtoull(text, nullptr, 10);
  if (parents == 0 || parents > start_ns) return;
  start_ns = parents;
  start_is_parents = true;
}

int dispatch(int count, char **arguments) {
  struct Verb {
    const char *name;
    int (*run)(const Options &options);
  };
  constexpr Verb kVerbs[] = {{"info", run_info}, {"test", run_test}, {"bench", run_bench}};
  for (const Verb &verb : kVerbs) {
    if (strcmp(arguments[1], verb.name) != 0) continue;
    for (int i = 2; i < count; ++i)
      if (strcmp(arguments[i], "--help") == 0) return fputs(kHelp, stdout) < 0 ? kFault : kDone;
    Options options;
    const int code = read_arguments(verb.name[0], count - 2, arguments + 2, &options);
    return code == kDone ? verb.run(options) : code;
  }
  return complain(kBadInput, "'%s': must be info, test or bench; see dca-run --help",
                  arguments[1]);
}

}  // namespace
}  // namespace dca_run

int main(int count, char **arguments) {
  using namespace dca_run;
  read_start();
  int code = kDone;
  if (count < 2 || strcmp(arguments[1], "--help") == 0)
    fputs(kHelp, count < 2 ? stderr : stdout), code = count < 2 ? kBadInput : kDone;
  else if (strcmp(arguments[1], "--version") == 0)
    fputs("dca-run " DCA_RUN_VERSION "\n", stdout);
  else
    code = dispatch(count, arguments);
  if (code == kDone && (fflush(stdout) != 0 || ferror(stdout) != 0))
    return complain(kFault, "standard output cannot be written");
  return code;
}
