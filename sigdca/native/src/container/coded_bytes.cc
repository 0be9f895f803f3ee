#include "container/coded_bytes.h"

#include <string.h>

#include "container/arithmetic.h"
#include "container/primer.h"
#include "container/varint.h"

namespace sigdca {
namespace {

// Takes bits instead of coding them: what the primer teaches is written nowhere.
struct Listener {
  template <class... Features>
  uint32_t bit(uint32_t bit, Features *...features) {
    const uint32_t probability = probability_of((int64_t{features->logit} + ...));
    const int32_t error = static_cast<int32_t>(bit << 16) - static_cast<int32_t>(probability);
    (features->teach(error), ...);
    return bit;
  }
};

struct ByteModel {
  Feature alone[256], after[256][256], after_two[256][256];
};

// Codes `count` bytes in place; a decoder fills them.
template <class Coder>
void code_bytes(Coder *coder, ByteModel *model, uint8_t *data, size_t count) {
  uint32_t last = 0, pair = 0;
  for (size_t index = 0; index < count; ++index) {
    const uint32_t byte = data[index];
    uint32_t node = 1;
    for (int shift = 7; shift >= 0; --shift) {
      node = 2 * node + coder->bit(byte >> shift & 1, &model->alone[node],
                                   &model->after[last][node], &model->after_two[pair][node]);
    }
    data[index] = static_cast<uint8_t>(node);
    pair = (7 * last ^ data[index]) & 255;
    last = data[index];
  }
}

}  // namespace

sigdca_status read_coded_bytes(const Context &context, const uint8_t *data, size_t bytes,
                               const char *where, size_t limit, Array<uint8_t> *found) {
  Bytes section{data, bytes};
  uint32_t count = 0;
  SIGDCA_TRY(read_varint(context, &section, where, &count));
  if (count > limit)
    return context.fail(SIGDCA_LIMIT, "%s: has %u bytes, limit %zu", where, count, limit);
  Array<ByteModel> model;
  SIGDCA_TRY(model.allocate(context, 1));
  memset(static_cast<void *>(model.data()), 0, sizeof(ByteModel));
  uint8_t primer[sizeof kPrimer];
  memcpy(primer, kPrimer, sizeof primer);
  Listener listener;
  code_bytes(&listener, model.data(), primer, sizeof primer);
  SIGDCA_TRY(found->allocate(context, count));
  if (count > 0) memset(found->data(), 0, count);
  ArithmeticDecoder decoder(data + section.at, bytes - section.at);
  code_bytes(&decoder, model.data(), found->data(), count);
  return decoder.finish(context, where);
}

}  // namespace sigdca
