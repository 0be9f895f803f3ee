// Fully connected, lanes that are images: the layout.
#include <string.h>

#include "kernels/simd/fc_layers.h"

namespace sigdca::fc {
namespace {

const BatchLayer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const BatchLayer *>(layer);
}

// Columns whose transposed inputs stay in a cache near by, while blocks are not so small that
// carrying the sums from one to the next costs more than it saves.
void choose_blocks(const Weights &weights, BatchLayer *layer) {
  constexpr size_t kNearBytes = 64 * 1024, kFarBytes = 512 * 1024;
  constexpr double kFewWeights = 4;  // of a row in a block
  const auto columns_in = [&](size_t bytes) { return bytes / (layer->pass * sizeof(float)); };
  const double density = static_cast<double>(weights.num_nonzero()) / weights.rows / weights.cols;
  size_t cols = columns_in(kNearBytes);
  if (density * static_cast<double>(cols) < kFewWeights) cols = columns_in(kFarBytes);
  const size_t blocks = (weights.cols + cols - 1) / cols;
  layer->num_blocks = static_cast<uint32_t>(blocks);
  layer->block_cols = (weights.cols + layer->num_blocks - 1) / layer->num_blocks;
}

sigdca_status fill(const Context &context, const Weights &weights, BatchLayer *layer) {
  choose_blocks(weights, layer);
  const size_t stride = size_t{layer->rows} + 1;
  SIGDCA_TRY(layer->start.allocate(context, layer->num_blocks * stride));
  SIGDCA_TRY(layer->column.allocate(context, weights.num_nonzero()));
  // Codes of two bytes are not worth a kernel of their own.
  const bool raw = value_bytes(weights) > 1;
  SIGDCA_TRY(layer->values.allocate(context, weights, weights.num_nonzero(), raw));
  Array<uint64_t> next;  // of each row, the weight to come
  SIGDCA_TRY(next.allocate(context, layer->rows));
  for (uint32_t row = 0; row < layer->rows; ++row) next[row] = weights.row_start[row];
  uint32_t to = 0;
  for (uint32_t block = 0; block < layer->num_blocks; ++block) {
    const uint32_t first = block * layer->block_cols, end = first + layer->block_cols;
    uint32_t *start = layer->start.data() + block * stride;
    for (uint32_t row = 0; row < layer->rows; ++row) {
      start[row] = to;
      for (; next[row] < weights.row_start[row + 1] && weights.columns[next[row]] < end;
           ++next[row], ++to) {
        layer->column[to] = static_cast<uint16_t>(weights.columns[next[row]] - first);
        layer->values.set(to, weights, next[row]);
      }
    }
    start[layer->rows] = to;
  }
  return SIGDCA_OK;
}

}  // namespace

sigdca_status prepare_batch(const Context &context, const LayerRequest &request, uint32_t pass,
                            const Weights &weights, const Epilogue &epilogue,
                            PreparedLayer **layer) {
  BatchLayer *made = nullptr;
  SIGDCA_TRY(make(context, &made));
  describe(context, request, weights, epilogue, made);
  made->pass = pass;
  const sigdca_status status = fill(context, weights, made);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, made);
    return status;
  }
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

void release_batch(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<BatchLayer *>(layer));
}

size_t batch_bytes(const PreparedLayer *layer) {
  return of(layer)->start.bytes() + of(layer)->column.bytes() + of(layer)->values.bytes();
}

// The transposed inputs, the sums between blocks, and per thread a tile of outputs.
size_t batch_scratch(const PreparedLayer *layer, uint32_t team_size) {
  const BatchLayer &made = *of(layer);
  return (made.transposed_floats() + made.sum_floats() + team_size * size_t{16} * made.pass) *
         sizeof(float);
}

}  // namespace sigdca::fc
