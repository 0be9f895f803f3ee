// A fully connected layer, plainly: each row's weights that are not zero, in their order.
#include "kernels/reference/layer.h"
#include "kernels/reference/tables.h"

namespace sigdca::reference {
namespace {

double cost_ns(const LayerRequest &request, const Weights &weights) {
  return 1.5 * static_cast<double>(weights.num_nonzero()) * request.max_batch;
}

sigdca_status prepare(const Context &context, const LayerRequest &, const Weights &weights,
                      const Epilogue &epilogue, PreparedLayer **layer) {
  Layer *made = nullptr;
  SIGDCA_TRY(make_layer(context, weights, epilogue, &made));
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

void run(const PreparedLayer *prepared, const Team &team, const float *input, size_t n,
         float *output, void *) {
  const Layer &layer = *of(prepared);
  size_t begin = 0, end = 0;
  team.part(layer.rows, 1, &begin, &end);
  for (size_t image = 0; image < n; ++image)
    for (size_t row = begin; row < end; ++row) {
      const float *from = input + image * layer.cols;
      float sum = 0;
      for (uint64_t i = layer.row_start[row]; i < layer.row_start[row + 1]; ++i)
        sum = sum + layer.values[i] * from[layer.columns[i]];
      output[image * layer.rows + row] = finish(layer.epilogue, static_cast<uint32_t>(row), sum);
    }
}

}  // namespace

const FcKernel kFc = {"reference", cost_ns, prepare, release, weight_bytes, scratch_bytes, run};

}  // namespace sigdca::reference
