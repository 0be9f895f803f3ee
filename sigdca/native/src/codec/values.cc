// The values of weights.
#include <string.h>

#include "core/context.h"
#include "sigdca_codec.h"

namespace sigdca {
namespace {

constexpr uint32_t kMaxValues = 65535, kTableBits = 17, kTableSize = 1u << kTableBits;

// Values by their bits: where they hash to, or the next free place behind.
class Table {
 public:
  sigdca_status open(const Context &context, const float *values, uint32_t count) {
    SIGDCA_TRY(slots_.allocate(context, kTableSize));
    memset(slots_.data(), 0, slots_.bytes());
    values_ = values;
    for (uint32_t id = 0; id < count; ++id) *find(values[id]) = id + 1;
    return SIGDCA_OK;
  }

  // The slot of a value: its number + 1, or 0 if it is not there.
  uint32_t *find(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t at = (bits * 0x9E3779B1u) >> (32 - kTableBits);
    while (slots_[at] != 0 && values_[slots_[at] - 1] != value) at = (at + 1) & (kTableSize - 1);
    return &slots_[at];
  }

 private:
  Array<uint32_t> slots_;
  const float *values_ = nullptr;
};

}  // namespace
}  // namespace sigdca

sigdca_status sigdca_find_values(const float *weights, size_t size, float *values,
                                 uint32_t *num_values, uint32_t *places, uint16_t *ids,
                                 size_t *count, sigdca_error *error) {
  using namespace sigdca;
  if (error != nullptr) {
    error->status = SIGDCA_OK;
    error->message[0] = 0;
  }
  const Context context{default_allocator(), error};
  Table table;
  SIGDCA_TRY(table.open(context, values, *num_values));
  size_t found = 0;
  for (size_t place = 0; place < size; ++place) {  // without a branch
    places[found] = static_cast<uint32_t>(place);
    found += weights[place] != 0;
  }
  for (size_t index = 0; index < found; ++index) {
    const float value = weights[places[index]];
    uint32_t *const slot = table.find(value);
    if (*slot == 0) {
      if (*num_values == kMaxValues)
        return context.fail(SIGDCA_LIMIT, "values: more than %u", kMaxValues);
      values[*num_values] = value;
      *slot = ++*num_values;
    }
    ids[index] = static_cast<uint16_t>(*slot - 1);
  }
  *count = found;
  return SIGDCA_OK;
}
