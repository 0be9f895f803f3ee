// The parser: opens a container, asks for all that the interface tells, decodes every tensor.
#include <string.h>

#include "container/model.h"
#include "limits.h"

using namespace sigdca;

namespace {

constexpr size_t kMemory = 4 << 20;

void require(bool holds) {
  if (!holds) abort();
}

void query(const uint8_t *data, size_t bytes) {
  sigdca_fuzz::Limit limit{kMemory};
  const sigdca_allocator allocator = limit.allocator();
  sigdca_error error;
  sigdca_model *model = nullptr;
  const sigdca_status status =
      sigdca_model_open_memory(data, bytes, &allocator, &model, &error);
  require(status == error.status && (status == SIGDCA_OK) == (model != nullptr));
  if (status == SIGDCA_OK) {
    sigdca_model_info info;
    sigdca_model_get_info(model, &info);
    sigdca_operator_info op;
    for (uint32_t index = 0; index < info.num_operators; ++index) {
      require(sigdca_model_get_operator(model, index, &op) == SIGDCA_OK);
      require(strlen(op.kind) > 0 && strlen(op.name) <= 255);
    }
    require(sigdca_model_get_operator(model, info.num_operators, &op) == SIGDCA_INVALID_ARGUMENT);
  } else {
    require(strlen(error.message) > 0 && strchr(error.message, '\n') == nullptr);
  }
  sigdca_model_close(model);
  require(limit.left == kMemory);
}

// What model.h promises of weights.
void check(const Weights &weights) {
  require(weights.row_start.size() == size_t{weights.rows} + 1 && weights.row_start[0] == 0);
  require(weights.row_start[weights.rows] == weights.num_nonzero());
  for (size_t row = 0; row < weights.rows; ++row) {
    int64_t before = -1;
    for (size_t index = weights.row_start[row]; index < weights.row_start[row + 1]; ++index) {
      require(weights.columns[index] > before && weights.columns[index] < weights.cols);
      require(!weights.shared() || weights.codes[index] < weights.codebook.size());
      require(weights.value(index) != 0);
      before = weights.columns[index];
    }
  }
}

void decode(const uint8_t *data, size_t bytes) {
  sigdca_fuzz::Limit limit{kMemory};
  sigdca_error error;
  const Context context{limit.allocator(), &error};
  {
    Model model;
    model.data = data;
    model.bytes = bytes;
    if (read_model(context, &model) != SIGDCA_OK) return;
    for (uint32_t number = 0; number < model.tensors.size(); ++number) {
      const TensorInfo &tensor = model.tensors[number];
      const bool is_norm = model.graph.ops[tensor.op].code == OpCode::kBatchNorm;
      if (tensor.part == 0 && !is_norm) {
        Weights weights;
        if (read_weights(context, model, number, &weights) != SIGDCA_OK) break;
        check(weights);
      } else {
        Array<float> values;
        if (read_vector(context, model, number, &values) != SIGDCA_OK) break;
        require(values.size() == tensor.weights);
      }
    }
  }
  require(limit.left == kMemory);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  query(data, bytes);
  decode(data, bytes);
  return 0;
}
