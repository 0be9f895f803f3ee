// Fully connected with those 8-bit weights that are not zero: the layout.
#include <string.h>

#include "kernels/simd/fc_layers.h"

namespace sigdca::fc {
namespace {

const Int8SparseLayer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const Int8SparseLayer *>(layer);
}

// The weights of a group's rows in one block of columns after the other.
class GroupWalk {
 public:
  GroupWalk(const Weights &weights, uint32_t group) : weights_(weights) {
    first_row_ = group * kSparseLanes;
    for (uint32_t lane = 0; lane < kSparseLanes; ++lane)
      next_[lane] = lane < num_rows() ? weights.row_start[first_row_ + lane] : 0;
  }

  // Calls weight(lane, its place in the list, its number in the block) for each of the block, and
  // returns how many steps they are.
  template <class Function>
  uint32_t block(uint32_t number, Function weight) {
    const uint64_t end_col = (uint64_t{number} + 1) * kSparseBlock;
    uint32_t most = 0;
    for (uint32_t lane = 0; lane < num_rows(); ++lane) {
      uint32_t count = 0;
      const uint64_t end = weights_.row_start[first_row_ + lane + 1];
      for (uint64_t &i = next_[lane]; i < end && weights_.columns[i] < end_col; ++i)
        weight(lane, i, count++);
      most = count > most ? count : most;
    }
    return (most + 3) / 4;
  }

 private:
  uint32_t num_rows() const {
    const uint32_t left = weights_.rows - first_row_;
    return left < kSparseLanes ? left : kSparseLanes;
  }

  const Weights &weights_;
  uint32_t first_row_;
  uint64_t next_[kSparseLanes];
};

void fill_group(const Weights &weights, uint32_t group, Int8SparseLayer *layer) {
  GroupWalk walk(weights, group);
  uint32_t step = layer->first_step[group];
  for (uint32_t block = 0; block < layer->num_blocks; ++block) {
    const uint32_t steps = walk.block(block, [&](uint32_t lane, uint64_t i, uint32_t number) {
      const size_t at = (size_t{step} + number / 4) * 128 + lane * 4 + number % 4;
      const uint32_t row = group * kSparseLanes + lane;
      const int8_t value = int8_weight(weights.value(i), layer->row_scale[row]);
      layer->steps[at] = static_cast<uint8_t>(weights.columns[i] % kSparseBlock);
      layer->steps[at + 64] = static_cast<uint8_t>(value);
      layer->row_offset[row] += 128 * value;
    });
    for (uint32_t k = 0; k < steps; ++k) layer->block[step++] = static_cast<uint16_t>(block);
  }
}

sigdca_status fill(const Context &context, const Weights &weights, Int8SparseLayer *layer) {
  layer->num_blocks = (layer->cols + kSparseBlock - 1) / kSparseBlock;
  layer->num_groups = (layer->rows + kSparseLanes - 1) / kSparseLanes;
  SIGDCA_TRY(layer->first_step.allocate(context, size_t{layer->num_groups} + 1));
  uint32_t total = 0;
  for (uint32_t group = 0; group < layer->num_groups; ++group) {
    layer->first_step[group] = total;
    GroupWalk walk(weights, group);
    for (uint32_t block = 0; block < layer->num_blocks; ++block)
      total += walk.block(block, [](uint32_t, uint64_t, uint32_t) {});
  }
  layer->first_step[layer->num_groups] = total;
  const size_t rows = size_t{layer->num_groups} * kSparseLanes;
  SIGDCA_TRY(layer->steps.allocate(context, size_t{total} * 128));
  SIGDCA_TRY(layer->block.allocate(context, total));
  SIGDCA_TRY(layer->row_scale.allocate(context, rows));
  SIGDCA_TRY(layer->row_offset.allocate(context, rows));
  if (total != 0) memset(layer->steps.data(), 0, layer->steps.bytes());
  memset(layer->row_scale.data(), 0, layer->row_scale.bytes());
  memset(layer->row_offset.data(), 0, layer->row_offset.bytes());
  for (uint32_t row = 0; row < layer->rows; ++row)
    layer->row_scale[row] = int8_scale(weights, row);
  for (uint32_t group = 0; group < layer->num_groups; ++group) fill_group(weights, group, layer);
  return SIGDCA_OK;
}

}  // namespace

sigdca_status prepare_int8_sparse(const Context &context, const LayerRequest &request,
                                  const Weights &weights, const Epilogue &epilogue,
                                  PreparedLayer **layer) {
  Int8SparseLayer *made = nullptr;
  SIGDCA_TRY(make(context, &made));
  describe(context, request, weights, epilogue, made);
  const sigdca_status status = fill(context, weights, made);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, made);
    return status;
  }
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

void release_int8_sparse(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<Int8SparseLayer *>(layer));
}

size_t int8_sparse_bytes(const PreparedLayer *layer) {
  const Int8SparseLayer &made = *of(layer);
  return made.steps.bytes() + made.block.bytes() + made.first_step.bytes() +
         made.row_scale.bytes() + made.row_offset.bytes();
}

// Per thread: the quantised input.
size_t int8_sparse_scratch(const PreparedLayer *layer, uint32_t team_size) {
  return size_t{team_size} * of(layer)->num_blocks * kSparseBlock;
}

}  // namespace sigdca::fc
