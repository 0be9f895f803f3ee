// Reads containers from standard input and says what the native reader makes of them. Each comes as
// u32 length and its bytes; each is answered by u32 status, u32 length and, where the status is
// SIGDCA_OK, all tensors as dense float32, else the message.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/model.h"

using namespace sigdca;

namespace {

void require(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "broken promise: %s\n", what);
  abort();
}

// A growing buffer of floats.
struct Output {
  float *data = nullptr;
  size_t size = 0;

  float *add(size_t count) {
    data = static_cast<float *>(realloc(data, (size + count + 1) * sizeof(float)));
    require(data != nullptr, "memory for the answer");
    float *const first = data + size;
    memset(first, 0, count * sizeof(float));
    size += count;
    return first;
  }
};

// What model.h promises of weights.
void check(const Weights &weights) {
  require(weights.row_start.size() == size_t{weights.rows} + 1, "rows + 1 starts");
  require(weights.row_start[0] == 0, "the first row starts at 0");
  require(weights.row_start[weights.rows] == weights.num_nonzero(), "the last row ends at the end");
  for (size_t row = 0; row < weights.rows; ++row) {
    require(weights.row_start[row] <= weights.row_start[row + 1], "ascending starts");
    for (size_t index = weights.row_start[row]; index < weights.row_start[row + 1]; ++index) {
      const bool is_first = index == weights.row_start[row];
      require(is_first || weights.columns[index - 1] < weights.columns[index], "ascending columns");
      require(weights.columns[index] < weights.cols, "columns below cols");
      require(!weights.shared() || weights.codes[index] < weights.codebook.size(), "known codes");
      require(weights.value(index) != 0, "no zero");
    }
  }
}

sigdca_status dump_tensor(const Context &context, const Model &model, uint32_t number,
                          Output *output) {
  const TensorInfo &tensor = model.tensors[number];
  const OpCode code = model.graph.ops[tensor.op].code;
  if (tensor.part == 0 && (code == OpCode::kConv || code == OpCode::kFc)) {
    Weights weights;
    SIGDCA_TRY(read_weights(context, model, number, &weights));
    check(weights);
    float *const dense = output->add(tensor.weights);
    for (size_t row = 0; row < weights.rows; ++row) {
      for (size_t index = weights.row_start[row]; index < weights.row_start[row + 1]; ++index)
        dense[row * weights.cols + weights.columns[index]] = weights.value(index);
    }
    return SIGDCA_OK;
  }
  Array<float> values;
  SIGDCA_TRY(read_vector(context, model, number, &values));
  require(values.size() == tensor.weights, "as many values as weights");
  memcpy(output->add(values.size()), values.data(), values.bytes());
  return SIGDCA_OK;
}

sigdca_status dump(const Context &context, const uint8_t *data, size_t bytes, Output *output) {
  Model model;
  model.data = data;
  model.bytes = bytes;
  SIGDCA_TRY(read_model(context, &model));
  for (uint32_t number = 0; number < model.tensors.size(); ++number)
    SIGDCA_TRY(dump_tensor(context, model, number, output));
  return SIGDCA_OK;
}

}  // namespace

int main() {
  uint32_t bytes = 0;
  while (fread(&bytes, sizeof bytes, 1, stdin) == 1) {
    // Exactly as large as the container, so that a sanitizer sees a read behind its end.
    uint8_t *const data = static_cast<uint8_t *>(malloc(bytes));
    require(bytes == 0 || fread(data, 1, bytes, stdin) == bytes, "a whole container");
    sigdca_error error = {};
    Output output;
    const uint32_t status = dump({default_allocator(), &error}, data, bytes, &output);
    require(status == SIGDCA_OK || error.status == status, "the error has the same status");
    const void *const answer =
        status == SIGDCA_OK ? static_cast<void *>(output.data) : error.message;
    const uint32_t length =
        status == SIGDCA_OK ? output.size * sizeof(float) : strlen(error.message);
    fwrite(&status, sizeof status, 1, stdout);
    fwrite(&length, sizeof length, 1, stdout);
    if (length > 0) fwrite(answer, 1, length, stdout);
    fflush(stdout);
    free(output.data);
    free(data);
  }
  return 0;
}
