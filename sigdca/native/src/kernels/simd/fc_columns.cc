// Fully connected, column by column: the layout.
#include <string.h>

#include "kernels/simd/fc_layers.h"

namespace sigdca::fc {
namespace {

// The columns of the rows of one part, from its first row on.
class PartWriter {
 public:
  PartWriter(const Weights &weights, ColumnsLayer *layer, uint32_t part)
      : weights_(weights),
        layer_(*layer),
        start_(layer->start.data() + size_t{part} * (size_t{layer->cols} + 1)),
        first_(layer->first_row(part)),
        end_(layer->first_row(part + 1)) {}

  // Sets the columns' starts; `offset` is the first's and becomes that behind the last.
  void count(uint32_t *offset) {
    memset(start_, 0, (size_t{layer_.cols} + 1) * sizeof(uint32_t));
    for (uint64_t i = weights_.row_start[first_]; i < weights_.row_start[end_]; ++i)
      ++start_[weights_.columns[i]];
    for (size_t col = 0; col <= layer_.cols; ++col) {
      const uint32_t count = start_[col];
      start_[col] = *offset;
      *offset += count;
    }
  }

  // Each start moves up to its column's end, and then all move on by one column.
  void fill() {
    const uint32_t first = start_[0];
    for (uint32_t row = first_; row < end_; ++row)
      for (uint64_t i = weights_.row_start[row]; i < weights_.row_start[row + 1]; ++i) {
        const uint32_t to = start_[weights_.columns[i]]++;
        layer_.row[to] = static_cast<uint16_t>(row - first_);
        layer_.values.set(to, weights_, i);
      }
    for (uint32_t col = layer_.cols; col > 0; --col) start_[col] = start_[col - 1];
    start_[0] = first;
  }

 private:
  const Weights &weights_;
  ColumnsLayer &layer_;
  uint32_t *const start_;
  const uint32_t first_, end_;
};

sigdca_status fill(const Context &context, const LayerRequest &request, const Weights &weights,
                   ColumnsLayer *layer) {
  const size_t num = weights.num_nonzero();
  layer->num_parts = num_parts(layer->rows, 65536, request.threads);
  SIGDCA_TRY(layer->start.allocate(context, layer->num_parts * (size_t{layer->cols} + 1)));
  uint32_t total = 0;
  for (uint32_t part = 0; part < layer->num_parts; ++part)
    PartWriter(weights, layer, part).count(&total);
  // Small layers are faster without the detour by the codebook.
  constexpr size_t kSmall = 65536;
  SIGDCA_TRY(layer->row.allocate(context, num));
  SIGDCA_TRY(layer->values.allocate(context, weights, num, num <= kSmall));
  for (uint32_t part = 0; part < layer->num_parts; ++part)
    PartWriter(weights, layer, part).fill();
  return SIGDCA_OK;
}

const ColumnsLayer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const ColumnsLayer *>(layer);
}

}  // namespace

sigdca_status prepare_columns(const Context &context, const LayerRequest &request,
                              const Weights &weights, const Epilogue &epilogue,
                              PreparedLayer **layer) {
  ColumnsLayer *made = nullptr;
  SIGDCA_TRY(make(context, &made));
  describe(context, request, weights, epilogue, made);
  const sigdca_status status = fill(context, request, weights, made);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, made);
    return status;
  }
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

void release_columns(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<ColumnsLayer *>(layer));
}

size_t columns_bytes(const PreparedLayer *layer) {
  return of(layer)->start.bytes() + of(layer)->row.bytes() + of(layer)->values.bytes();
}

// Per thread: the columns whose inputs are not zero.
size_t columns_scratch(const PreparedLayer *layer, uint32_t team_size) {
  return team_size * list_bytes(of(layer)->cols);
}

}  // namespace sigdca::fc
