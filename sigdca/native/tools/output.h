// Results on standard output: lines of "key: value", or one JSON object.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace dca_run {

class Output {
 public:
  explicit Output(bool json);
  // Ends the object.
  void end();

  void text(const char *key, const char *value);
  void number(const char *key, uint64_t value);
  void flag(const char *key, bool value);
  // `decimals` behind the point.
  void real(const char *key, double value, int decimals);
  void numbers(const char *key, const uint32_t *values, size_t count);
  // word(0), word(1), ... up to the first that is null.
  void words(const char *key, const char *(*word)(uint32_t index));

  // A list of objects, each with fields as above; one line each in text.
  void begin_list(const char *key);
  void begin_item();
  void end_item();
  void end_list();

 private:
  void key(const char *name);
  void separate();
  void end_value();

  bool json_, first_ = true;
  const char *list_ = nullptr;
};

}  // namespace dca_run
