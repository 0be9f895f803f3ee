#include "kernels/simd/conv_depthwise.h"

#include "core/object.h"

namespace sigdca {
namespace {

constexpr size_t kBandBytes = 24576;  // of copied input: stays in the first cache
constexpr size_t kMaxBandBytes = size_t{1} << 22;

bool fits(const ConvShape &shape) {
  return shape.groups > 1 && shape.groups == shape.input.channels &&
         shape.groups == shape.output.channels && shape.window.stride[1] <= 4;
}

void cut(const DepthwiseTuning &tuning, const ConvShape &shape, DepthwiseLayer *layer) {
  layer->geometry = make_geometry(shape);
  layer->lanes = tuning.lanes;
  layer->band = layer->geometry.out_height;
  while (layer->band > 4 && layer->lines() * layer->line_floats() * sizeof(float) > kBandBytes)
    layer->band = (layer->band + 1) / 2;
}

const DepthwiseLayer *of(const PreparedLayer *prepared) {
  return reinterpret_cast<const DepthwiseLayer *>(prepared);
}

}  // namespace

double depthwise_cost_ns(const DepthwiseTuning &tuning, const ConvShape &shape) {
  if (!fits(shape)) return -1;
  DepthwiseLayer layer;
  cut(tuning, shape, &layer);
  if (layer.lines() * layer.line_floats() * sizeof(float) > kMaxBandBytes) return -1;
  const ConvGeometry &geometry = layer.geometry;
  const double vectors = static_cast<double>((geometry.out_width + tuning.lanes - 1) / tuning.lanes) *
                         geometry.out_height;
  const double bands = (geometry.out_height + layer.band - 1) / layer.band;
  const double lines = bands * layer.lines(), stride = geometry.stride[1];
  const double copied = lines * static_cast<double>(layer.line_floats()) / tuning.lanes;
  const double taps = static_cast<double>(geometry.taps());
  return geometry.groups * (vectors * (taps * tuning.vector_ns + tuning.store_ns) +
                            copied * tuning.copy_ns * (stride == 1 ? 1 : 6) +
                            lines * stride * tuning.line_ns);
}

sigdca_status prepare_depthwise(const Context &context, const DepthwiseTuning &tuning, bool exact,
                                const ConvShape &shape, const Weights &weights,
                                const Epilogue &epilogue, PreparedLayer **prepared) {
  DepthwiseLayer *layer = nullptr;
  SIGDCA_TRY(make(context, &layer));
  layer->allocator = context.allocator;
  layer->epilogue = epilogue;
  layer->exact = exact;
  cut(tuning, shape, layer);
  const ConvGeometry &geometry = layer->geometry;
  const size_t taps = geometry.taps();
  sigdca_status status = layer->weights.allocate(context, geometry.groups * taps);
  if (status == SIGDCA_OK) status = layer->offsets.allocate(context, taps);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, layer);
    return status;
  }
  for (float &weight : layer->weights) weight = 0;
  for (uint32_t row = 0; row < weights.rows; ++row)
    for (uint64_t i = weights.row_start[row]; i < weights.row_start[row + 1]; ++i)
      layer->weights[row * taps + weights.columns[i]] = weights.value(i);
  for (uint32_t tap = 0; tap < taps; ++tap) {
    const uint32_t x = tap % geometry.kernel[1] * geometry.dilation[1];
    const uint32_t y = tap / geometry.kernel[1] * geometry.dilation[0];
    layer->offsets[tap] = static_cast<uint32_t>(
        y * layer->line_floats() + x % geometry.stride[1] * layer->part_floats() +
        x / geometry.stride[1]);
  }
  *prepared = reinterpret_cast<PreparedLayer *>(layer);
  return SIGDCA_OK;
}

void release_depthwise(const Context &context, PreparedLayer *prepared) {
  destroy(context.allocator, reinterpret_cast<DepthwiseLayer *>(prepared));
}

size_t depthwise_weight_bytes(const PreparedLayer *prepared) {
  return of(prepared)->weights.bytes() + of(prepared)->offsets.bytes();
}

size_t depthwise_scratch_bytes(const PreparedLayer *prepared, uint32_t team_size) {
  return of(prepared)->thread_floats() * sizeof(float) * team_size;
}

}  // namespace sigdca
