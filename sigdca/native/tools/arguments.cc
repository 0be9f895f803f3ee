#include "arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

namespace dca_run {
namespace {

// A whole number of decimal digits alone, within its limits.
int read_number(const char *option, const char *text, uint64_t low, uint64_t high,
                uint64_t *number) {
  char *end = nullptr;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != 0 || errno != 0 || value < low || value > high)
    return complain(kBadInput, "%s: must be %llu to %llu, got '%s'", option,
                    static_cast<unsigned long long>(low), static_cast<unsigned long long>(high),
                    text);
  *number = value;
  return kDone;
}

int read_number(const char *option, const char *text, uint32_t high, uint32_t *number) {
  uint64_t value = 0;
  const int code = read_number(option, text, 1, high, &value);
  *number = static_cast<uint32_t>(value);
  return code;
}

int read_seconds(const char *text, double *seconds) {
  char *end = nullptr;
  *seconds = strtod(text, &end);
  if (end == text || *end != 0 || !(*seconds > 0 && *seconds <= 3600))
    return complain(kBadInput, "--seconds: must be above 0, at most 3600, got '%s'", text);
  return kDone;
}

int read_profile(const char *text, sigdca_profile *profile) {
  constexpr sigdca_profile kProfiles[] = {SIGDCA_PROFILE_EXACT, SIGDCA_PROFILE_FAST,
                                          SIGDCA_PROFILE_INT8};
  for (const sigdca_profile one : kProfiles) {
    *profile = one;
    if (strcmp(text, profile_name(one)) == 0) return kDone;
  }
  return complain(kBadInput, "--profile: must be exact, fast or int8, got '%s'", text);
}

struct Flag {
  const char *name;
  const char *verbs;
  char id;
  bool has_value;
};

constexpr Flag kFlags[] = {
    {"--images", "tb", 'x', true},  {"--labels", "t", 'y', true},
    {"--num", "t", 'n', true},      {"--threads", "tb", 't', true},
    {"--batch", "tb", 'b', true},   {"--profile", "tb", 'p', true},
    {"--isa", "tb", 'i', true},     {"--logits", "t", 'l', true},
    {"--warm-up", "b", 'w', true},  {"--runs", "b", 'r', true},
    {"--seconds", "b", 's', true},  {"--no-times", "tb", 'o', false},
    {"--json", "tbi", 'j', false},
};

int take(const Flag &flag, const char *value, Options *options) {
  switch (flag.id) {
    case 'x': options->images = value; return kDone;
    case 'y': options->labels = value; return kDone;
    case 'l': options->logits = value; return kDone;
    case 'i': options->session.isa = value; return kDone;
    case 'o': options->times = false; return kDone;
    case 'j': options->json = true; return kDone;
    case 'p': return read_profile(value, &options->session.profile);
    case 's': return read_seconds(value, &options->seconds);
    case 'n': return read_number(flag.name, value, 1, 1000000000, &options->num);
    case 'w': return read_number(flag.name, value, 0, 1000000, &options->warm_up);
    case 'r': return read_number(flag.name, value, 1, 1000000, &options->runs);
    case 't': return read_number(flag.name, value, 64, &options->session.threads);
    default: return read_number(flag.name, value, 256, &options->session.max_batch);
  }
}

}  // namespace

int read_arguments(char verb, int count, char **arguments, Options *options) {
  for (int i = 0; i < count; ++i) {
    const char *argument = arguments[i];
    if (argument[0] != '-' || argument[1] == 0) {
      if (options->file != nullptr)
        return complain(kBadInput, "'%s': one container is enough, got '%s' before", argument,
                        options->file);
      options->file = argument;
      continue;
    }
    const Flag *found = nullptr;
    for (const Flag &flag : kFlags)
      if (strcmp(flag.name, argument) == 0 && strchr(flag.verbs, verb) != nullptr) found = &flag;
    if (found == nullptr)
      return complain(kBadInput, "'%s': unknown option; see dca-run --help", argument);
    if (found->has_value && i + 1 == count)
      return complain(kBadInput, "%s: needs a value", argument);
    if (found->has_value) ++i;
    const int code = take(*found, arguments[i], options);
    if (code != kDone) return code;
  }
  if (options->file == nullptr)
    return complain(kBadInput, "a container is missing; see dca-run --help");
  if (verb == 't' && options->images == nullptr)
    return complain(kBadInput, "test: --images is missing; see dca-run --help");
  return kDone;
}

}  // namespace dca_run
