// Fully connected with 8-bit weights: the layout.
#include <math.h>
#include <string.h>

#include "kernels/simd/fc_layers.h"

namespace sigdca::fc {
namespace {

const Int8Layer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const Int8Layer *>(layer);
}

void fill_row(const Weights &weights, uint32_t row, float scale, int8_t *to, size_t stride,
              int32_t *offset) {
  int32_t sum = 0;
  for (uint64_t i = weights.row_start[row]; i < weights.row_start[row + 1]; ++i) {
    const int8_t number = int8_weight(weights.value(i), scale);
    to[weights.columns[i] / 4 * stride + weights.columns[i] % 4] = number;
    sum += number;
  }
  *offset = 128 * sum;
}

sigdca_status fill(const Context &context, const Weights &weights, Int8Layer *layer) {
  const size_t rows = size_t{layer->num_vectors} * layer->lanes;
  SIGDCA_TRY(layer->weights.allocate(context, rows * layer->num_quads * 4));
  SIGDCA_TRY(layer->row_scale.allocate(context, rows));
  SIGDCA_TRY(layer->row_offset.allocate(context, rows));
  memset(layer->weights.data(), 0, layer->weights.bytes());
  memset(layer->row_scale.data(), 0, layer->row_scale.bytes());
  memset(layer->row_offset.data(), 0, layer->row_offset.bytes());
  for (uint32_t panel = 0; panel < layer->num_panels; ++panel) {
    const uint32_t first = layer->first_vector(panel) * layer->lanes;
    uint32_t end = layer->first_vector(panel + 1) * layer->lanes;
    const size_t stride = size_t{end - first} * 4;  // from quad to quad
    if (end > layer->rows) end = layer->rows;
    int8_t *to = layer->weights.data() + size_t{first} * layer->num_quads * 4;
    for (uint32_t row = first; row < end; ++row) {
      layer->row_scale[row] = int8_scale(weights, row);
      fill_row(weights, row, layer->row_scale[row], to + size_t{row - first} * 4, stride,
               &layer->row_offset[row]);
    }
  }
  return SIGDCA_OK;
}

}  // namespace

float int8_scale(const Weights &weights, uint32_t row) {
  float most = 0;
  for (uint64_t i = weights.row_start[row]; i < weights.row_start[row + 1]; ++i) {
    const float size = fabsf(weights.value(i));
    most = size > most ? size : most;
  }
  return most < 1e-30f ? 0 : most / 127;
}

int8_t int8_weight(float value, float scale) {
  return scale == 0 ? int8_t{0} : static_cast<int8_t>(lrintf(value / scale));
}

sigdca_status prepare_int8(const Context &context, const LayerRequest &request,
                           const Int8Layout &layout, const Weights &weights, const Epilogue &epilogue,
                           PreparedLayer **layer) {
  Int8Layer *made = nullptr;
  SIGDCA_TRY(make(context, &made));
  describe(context, request, weights, epilogue, made);
  const uint32_t unit = layout.quad_unit * 4;
  made->lanes = layout.lanes;
  made->num_quads = (made->cols + unit - 1) / unit * layout.quad_unit;
  made->num_vectors = (made->rows + made->lanes - 1) / made->lanes;
  made->num_panels = num_parts(made->num_vectors, layout.panel_vectors, request.threads);
  const sigdca_status status = fill(context, weights, made);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, made);
    return status;
  }
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

void release_int8(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<Int8Layer *>(layer));
}

size_t int8_bytes(const PreparedLayer *layer) {
  return of(layer)->weights.bytes() + of(layer)->row_scale.bytes() +
         of(layer)->row_offset.bytes();
}

// Per thread: the quantised input, and the list of its quads that are not zero.
size_t int8_scratch(const PreparedLayer *layer, uint32_t team_size) {
  return team_size * 2 * list_bytes(of(layer)->num_quads);
}

}  // namespace sigdca::fc
