// Fully connected, every weight: the layout.
#include <string.h>

#include "kernels/simd/fc_layers.h"

namespace sigdca::fc {
namespace {

void fill(const Weights &weights, DenseLayer *layer) {
  memset(layer->weights.data(), 0, layer->weights.bytes());
  for (uint32_t row = 0; row < weights.rows; ++row) {
    const uint32_t panel = row / layer->panel(), first = panel * layer->panel();
    const size_t width = size_t{layer->width(panel)} * layer->lanes;
    float *to = layer->weights.data() + size_t{first} * layer->cols + (row - first);
    for (uint64_t i = weights.row_start[row]; i < weights.row_start[row + 1]; ++i)
      to[weights.columns[i] * width] = weights.value(i);
  }
}

}  // namespace

sigdca_status prepare_dense(const Context &context, const LayerRequest &request, uint32_t lanes,
                            const Weights &weights, const Epilogue &epilogue,
                            PreparedLayer **layer) {
  DenseLayer *made = nullptr;
  SIGDCA_TRY(make(context, &made));
  describe(context, request, weights, epilogue, made);
  made->lanes = lanes;
  const uint32_t last = made->num_panels() - 1;
  const size_t padded = size_t{last} * made->panel() + size_t{made->width(last)} * lanes;
  const sigdca_status status = made->weights.allocate(context, padded * made->cols);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, made);
    return status;
  }
  fill(weights, made);
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

void release_dense(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<DenseLayer *>(layer));
}

size_t dense_bytes(const PreparedLayer *layer) {
  return reinterpret_cast<const DenseLayer *>(layer)->weights.bytes();
}

// Per thread: the sums of a panel's rows for all images.
size_t dense_scratch(const PreparedLayer *layer, uint32_t team_size) {
  const DenseLayer &made = *reinterpret_cast<const DenseLayer *>(layer);
  return size_t{team_size} * made.max_batch * made.panel() * sizeof(float);
}

}  // namespace sigdca::fc
