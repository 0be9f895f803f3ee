#include "kernels/simd/conv_winograd.h"

#include "core/object.h"

namespace sigdca {
namespace {

// Transformed weights are four times as large as dense ones: what a layer may take.
constexpr size_t kMaxWeightBytes = size_t{12} << 20;
// Transformed inputs and products of one panel.
constexpr size_t kMaxPanelBytes = size_t{8} << 20;
// Of transformed inputs that are multiplied by all rows before the next: stays in the first cache.
constexpr size_t kBlockBytes = 24576;

uint32_t divide_up(size_t a, size_t b) { return static_cast<uint32_t>((a + b - 1) / b); }

bool fits(const ConvShape &shape) {
  const Window &window = shape.window;
  for (int axis = 0; axis < 2; ++axis)
    if (window.kernel[axis] != 3 || window.stride[axis] != 1 || window.dilation[axis] != 1)
      return false;
  const size_t weights = size_t{shape.input.channels} * shape.output.channels;
  return shape.groups == 1 && shape.output.height >= 4 && shape.output.width >= 4 &&
         weights <= kMaxWeightBytes / sizeof(float) / kWinogradPoints;
}

// Chooses the panels: the fewest vectors in all.
void cut(const WinogradTuning &tuning, WinogradLayer *layer) {
  const ConvGeometry &geometry = layer->geometry;
  layer->lanes = tuning.lanes, layer->row_unit = tuning.row_unit;
  layer->tiles_x = divide_up(geometry.out_width, 4), layer->tiles_y = divide_up(geometry.out_height, 4);
  const size_t vector_bytes = kWinogradPoints * (size_t{geometry.channels} + layer->padded_rows()) *
                              tuning.lanes * sizeof(float);
  const uint32_t limit = vector_bytes * tuning.unit < kMaxPanelBytes
                             ? static_cast<uint32_t>(kMaxPanelBytes / vector_bytes) : tuning.unit;
  uint32_t best = ~0u;
  for (uint32_t rows = 1; rows <= layer->tiles_y; ++rows) {
    const uint32_t vectors = divide_up(size_t{rows} * layer->tiles_x, tuning.lanes);
    if (rows > 1 && vectors > limit) break;
    const uint32_t panels = divide_up(layer->tiles_y, rows), total = panels * vectors;
    if (total > best) continue;
    best = total;
    layer->panel_rows = rows, layer->panels = panels, layer->vectors = vectors;
  }
  const uint32_t groups = divide_up(layer->vectors, tuning.unit);
  const size_t group_bytes = size_t{divide_up(layer->vectors, groups)} * tuning.lanes * sizeof(float);
  const size_t channels = kBlockBytes / group_bytes;
  layer->num_blocks = divide_up(geometry.channels, channels);
  layer->block_channels = divide_up(geometry.channels, layer->num_blocks);
  layer->num_blocks = divide_up(geometry.channels, layer->block_channels);
}

// G * kernel * G^T.
void transform(const double *kernel, double *points) {
  static constexpr double kMatrix[6][3] = {
      {0.25, 0, 0},           {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6},
      {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}};
  double half[6][3] = {};
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 3; ++k) half[i][j] += kMatrix[i][k] * kernel[k * 3 + j];
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j) {
      points[i * 6 + j] = 0;
      for (int k = 0; k < 3; ++k) points[i * 6 + j] += half[i][k] * kMatrix[j][k];
    }
}

void fill(const Weights &weights, WinogradLayer *layer) {
  const uint32_t channels = layer->geometry.channels, unit = layer->row_unit;
  const size_t rows = layer->padded_rows();
  for (float &value : layer->weights) value = 0;
  for (uint32_t row = 0; row < weights.rows; ++row) {
    uint64_t i = weights.row_start[row];
    const uint64_t end = weights.row_start[row + 1];
    while (i < end) {
      const uint32_t channel = weights.columns[i] / 9;
      double kernel[9] = {}, points[kWinogradPoints];
      for (; i < end && weights.columns[i] / 9 == channel; ++i)
        kernel[weights.columns[i] % 9] = static_cast<double>(weights.value(i));
      transform(kernel, points);
      const uint32_t first = channel / layer->block_channels * layer->block_channels;
      const uint32_t left = channels - first;
      const uint32_t size = left < layer->block_channels ? left : layer->block_channels;
      float *to = layer->weights.data() + first * rows + row / unit * unit * size +
                  size_t{channel - first} * unit + row % unit;
      for (int point = 0; point < kWinogradPoints; ++point)
        to[point * rows * channels] = static_cast<float>(points[point]);
    }
  }
}

const WinogradLayer *of(const PreparedLayer *prepared) {
  return reinterpret_cast<const WinogradLayer *>(prepared);
}

}  // namespace

double winograd_cost_ns(const WinogradTuning &tuning, const LayerRequest &request,
                        const ConvShape &shape) {
  if (request.profile == SIGDCA_PROFILE_EXACT || !fits(shape)) return -1;
  WinogradLayer layer;
  layer.geometry = make_geometry(shape);
  cut(tuning, &layer);
  const double vectors = double{1} * layer.vectors * layer.panels;
  const double lines = double{1} * layer.tiles_y * divide_up(layer.tiles_x, layer.lanes);
  const double channels = layer.geometry.channels, rows = layer.padded_rows();
  const double products = kWinogradPoints * channels * rows;
  return products * (vectors * tuning.vector_ns + 4.0 * layer.panels * tuning.weight_ns) +
         lines * (channels * tuning.input_ns + rows * tuning.output_ns);
}

sigdca_status prepare_winograd(const Context &context, const WinogradTuning &tuning,
                               const ConvShape &shape, const Weights &weights,
                               const Epilogue &epilogue, PreparedLayer **prepared) {
  WinogradLayer *layer = nullptr;
  SIGDCA_TRY(make(context, &layer));
  layer->allocator = context.allocator;
  layer->epilogue = epilogue;
  layer->geometry = make_geometry(shape);
  cut(tuning, layer);
  const sigdca_status status = layer->weights.allocate(
      context, kWinogradPoints * size_t{layer->geometry.channels} * layer->padded_rows());
  if (status != SIGDCA_OK) {
    destroy(context.allocator, layer);
    return status;
  }
  fill(weights, layer);
  *prepared = reinterpret_cast<PreparedLayer *>(layer);
  return SIGDCA_OK;
}

void release_winograd(const Context &context, PreparedLayer *prepared) {
  destroy(context.allocator, reinterpret_cast<WinogradLayer *>(prepared));
}

size_t winograd_weight_bytes(const PreparedLayer *prepared) { return of(prepared)->weights.bytes(); }

size_t winograd_scratch_bytes(const PreparedLayer *prepared, uint32_t team_size) {
  return of(prepared)->thread_floats() * sizeof(float) * team_size;
}

}  // namespace sigdca
