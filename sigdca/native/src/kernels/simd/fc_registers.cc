// Fully connected, every weight a code of 5 bits: the layout.
#include <string.h>

#include "kernels/simd/fc_layers.h"

namespace sigdca::fc {
namespace {

const RegistersLayer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const RegistersLayer *>(layer);
}

void fill_panel(const Weights &weights, uint32_t first_row, uint32_t end_row, uint32_t groups,
                uint32_t *words) {
  const size_t stride = size_t{groups} * kRegisterLanes;
  for (uint32_t row = first_row; row < end_row; ++row) {
    const uint32_t vector = (row - first_row) / kRegisterLanes;
    const uint32_t shift = vector % kCodesPerWord * 5;
    uint32_t *to = words + vector / kCodesPerWord * kRegisterLanes + row % kRegisterLanes;
    for (uint64_t i = weights.row_start[row]; i < weights.row_start[row + 1]; ++i)
      to[weights.columns[i] * stride] |= (weights.codes[i] + 1u) << shift;
  }
}

sigdca_status fill(const Context &context, const Weights &weights, uint32_t threads,
                   RegistersLayer *layer) {
  layer->num_vectors = (layer->rows + kRegisterLanes - 1) / kRegisterLanes;
  layer->num_panels = num_parts(layer->num_vectors, kMostVectors, threads);
  for (size_t i = 0; i < weights.codebook.size(); ++i)
    layer->codebook[i + 1] = weights.codebook[i];
  size_t total = 0;
  for (uint32_t panel = 0; panel < layer->num_panels; ++panel)
    total += groups_of(*layer, panel) * size_t{layer->cols} * kRegisterLanes;
  SIGDCA_TRY(layer->words.allocate(context, total));
  memset(layer->words.data(), 0, layer->words.bytes());
  uint32_t *to = layer->words.data();
  for (uint32_t panel = 0; panel < layer->num_panels; ++panel) {
    const uint32_t groups = groups_of(*layer, panel);
    const uint32_t end = layer->first_vector(panel + 1) * kRegisterLanes;
    fill_panel(weights, layer->first_vector(panel) * kRegisterLanes,
               end < layer->rows ? end : layer->rows, groups, to);
    to += groups * size_t{layer->cols} * kRegisterLanes;
  }
  return SIGDCA_OK;
}

}  // namespace

bool can_use_registers(const Weights &weights) {
  return weights.shared() && weights.codebook.size() <= 31 && weights.rows != 0;
}

sigdca_status prepare_registers(const Context &context, const LayerRequest &request,
                                const Weights &weights, const Epilogue &epilogue,
                                PreparedLayer **layer) {
  RegistersLayer *made = nullptr;
  SIGDCA_TRY(make(context, &made));
  describe(context, request, weights, epilogue, made);
  const sigdca_status status = fill(context, weights, request.threads, made);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, made);
    return status;
  }
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

void release_registers(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<RegistersLayer *>(layer));
}

size_t registers_bytes(const PreparedLayer *layer) {
  return of(layer)->words.bytes() + sizeof(of(layer)->codebook);
}

size_t registers_scratch(const PreparedLayer *layer, uint32_t team_size) {
  return team_size * list_bytes(of(layer)->cols);
}

}  // namespace sigdca::fc
