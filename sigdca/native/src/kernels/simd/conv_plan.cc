#include "kernels/simd/conv_plan.h"

namespace sigdca {
namespace {

uint32_t divide_up(size_t a, size_t b) { return static_cast<uint32_t>((a + b - 1) / b); }

uint32_t greatest_divisor(uint32_t a, uint32_t b) {
  while (b != 0) {
    const uint32_t rest = a % b;
    a = b, b = rest;
  }
  return a;
}

// Sums of a chunk of output channels: they should stay in the second cache. Larger outputs take
// longer to store.
constexpr size_t kChunkBytes = size_t{1} << 20;

// Cuts the taps so that no block is larger than `limit`.
void cut_taps(size_t limit, ConvPlan *plan) {
  const ConvGeometry &geometry = plan->geometry;
  const uint32_t kernel_y = geometry.kernel[0], kernel_x = geometry.kernel[1];
  const size_t vector_row = size_t{plan->panel_strips} * plan->lanes * sizeof(float);
  const auto column = [&](uint32_t num_ky) { return plan->column_rows(num_ky) * vector_row; };
  plan->block_channels = 1, plan->block_ky = kernel_y, plan->block_kx = kernel_x;
  uint32_t parts = 1;
  if (column(kernel_y) * kernel_x <= limit) {
    const size_t channels = limit / (column(kernel_y) * kernel_x);
    parts = channels < geometry.channels ? divide_up(geometry.channels, channels) : 1;
    plan->block_channels = divide_up(geometry.channels, parts);
    plan->num_blocks = divide_up(geometry.channels, plan->block_channels);
    return;
  }
  while (parts < kernel_y && column(divide_up(kernel_y, parts)) * kernel_x > limit) ++parts;
  plan->block_ky = divide_up(kernel_y, parts);
  if (plan->block_ky == 1 && column(1) * kernel_x > limit) {
    const size_t width = limit / column(1) > 0 ? limit / column(1) : 1;
    plan->block_kx = divide_up(kernel_x, divide_up(kernel_x, width));
  }
  plan->num_blocks = geometry.channels * divide_up(kernel_y, plan->block_ky) *
                     divide_up(kernel_x, plan->block_kx);
}

// Vectors that are packed for one panel, all blocks together.
double packed_vectors(const ConvPlan &plan) {
  const ConvGeometry &geometry = plan.geometry;
  const uint32_t whole = geometry.kernel[0] / plan.block_ky, rest = geometry.kernel[0] % plan.block_ky;
  const double rows = double{1} * whole * plan.column_rows(plan.block_ky) +
                      (rest != 0 ? plan.column_rows(rest) : 0);
  return rows * geometry.kernel[1] * geometry.channels * plan.panel_strips;
}

void estimate(const ConvTuning &tuning, double nonzero, ConvPlan *plan) {
  const ConvGeometry &geometry = plan->geometry;
  const double panels = plan->panels, vectors = panels * plan->vectors();
  const uint32_t size = plan->vectors(), rest = size % tuning.unit;
  const double waste = rest == 0 ? 1 : 1 + 0.5 * (tuning.unit - rest) / size;  // of part units
  const double rows = double{1} * geometry.rows * geometry.groups;
  const double chunks = divide_up(geometry.rows, plan->chunk_rows);
  const double multiply = nonzero * (vectors * waste * tuning.vector_ns + panels * tuning.tap_ns);
  const double sums = rows * plan->num_blocks * (panels * tuning.row_ns + vectors * tuning.sum_ns);
  const bool near = rows * geometry.out_height * geometry.out_width * sizeof(float) < kChunkBytes;
  const double store = rows * vectors * tuning.store_ns * (near ? 1 : 2.5) +
                       panels * geometry.groups * chunks * plan->num_blocks * tuning.panel_ns;
  // Each edge of a segment inside a strip cuts its vectors to two runs.
  const double runs = (plan->strips + plan->segments - 1.0) / plan->strips;
  plan->pack_ns = packed_vectors(*plan) * panels * geometry.groups * chunks * runs *
                  (geometry.stride[1] == 1 ? tuning.pack_ns : tuning.gather_ns);
  plan->total_ns = multiply + sums + store + plan->pack_ns;
}

}  // namespace

ConvGeometry make_geometry(const ConvShape &shape) {
  const Window &window = shape.window;
  ConvGeometry geometry{};
  geometry.groups = shape.groups;
  geometry.channels = shape.input.channels / shape.groups;
  geometry.rows = shape.output.channels / shape.groups;
  geometry.in_height = shape.input.height, geometry.in_width = shape.input.width;
  geometry.out_height = shape.output.height, geometry.out_width = shape.output.width;
  bool plain = true;
  for (int axis = 0; axis < 2; ++axis) {
    geometry.kernel[axis] = window.kernel[axis], geometry.stride[axis] = window.stride[axis];
    geometry.dilation[axis] = window.dilation[axis], geometry.padding[axis] = window.padding[axis];
    plain = plain && window.kernel[axis] == 1 && window.stride[axis] == 1 && window.padding[axis] == 0;
  }
  if (plain) {
    geometry.in_width *= geometry.in_height, geometry.out_width *= geometry.out_height;
    geometry.in_height = geometry.out_height = 1;
  }
  return geometry;
}

uint32_t ConvPlan::plane_rows(uint32_t num_ky, uint32_t ky) const {
  return rows + (num_ky - 1 - ky) / period * step;
}

// Of the first `planes` planes together.
uint32_t ConvPlan::rows_of_planes(uint32_t num_ky, uint32_t planes) const {
  // The first `longer` planes have one tap more than the others.
  const uint32_t taps = (num_ky - 1) / period, longer = (num_ky - 1) % period + 1;
  return planes * rows + step * (planes * taps - (planes > longer ? planes - longer : 0));
}

uint32_t ConvPlan::column_rows(uint32_t num_ky) const {
  return rows_of_planes(num_ky, period < num_ky ? period : num_ky);
}

uint32_t ConvPlan::row_of(uint32_t num_ky, uint32_t ky) const {
  return rows_of_planes(num_ky, ky % period) + ky / period * step;
}

ConvBlock ConvPlan::block(uint32_t index) const {
  const uint32_t parts_y = divide_up(geometry.kernel[0], block_ky);
  const uint32_t parts_x = divide_up(geometry.kernel[1], block_kx);
  const uint32_t taps = geometry.kernel[0] * geometry.kernel[1];
  const auto part = [](uint32_t number, uint32_t size, uint32_t all) {
    return number * size + size < all ? size : all - number * size;
  };
  ConvBlock block{};
  block.kx = index % parts_x * block_kx;
  block.num_kx = part(index % parts_x, block_kx, geometry.kernel[1]);
  index /= parts_x;
  block.ky = index % parts_y * block_ky;
  block.num_ky = part(index % parts_y, block_ky, geometry.kernel[0]);
  index /= parts_y;
  block.channel = index * block_channels;
  block.channels = part(index, block_channels, geometry.channels);
  block.first_tap = block.channel * taps + block.ky * geometry.kernel[1] + block.kx;
  block.num_taps = block.channels * block.num_ky * block.num_kx;
  return block;
}

size_t ConvPlan::block_bytes(const ConvBlock &block) const {
  return size_t{block.channels} * block.num_kx * column_rows(block.num_ky) * panel_strips * lanes *
         sizeof(float);
}

size_t ConvPlan::max_block_bytes() const { return block_bytes(block(0)); }

uint32_t ConvPlan::tap_offset(const ConvBlock &block, uint32_t tap) const {
  const uint32_t kx = tap % block.num_kx, ky = tap / block.num_kx % block.num_ky;
  const uint32_t channel = tap / block.num_kx / block.num_ky;
  const uint32_t row = (channel * block.num_kx + kx) * column_rows(block.num_ky) +
                       row_of(block.num_ky, ky);
  return row * panel_strips * lanes * static_cast<uint32_t>(sizeof(float));
}

ConvPlan make_plan(const ConvTuning &tuning, const ConvShape &shape, double nonzero) {
  ConvPlan best{}, plan{};
  plan.geometry = make_geometry(shape);
  plan.lanes = tuning.lanes;
  const ConvGeometry &geometry = plan.geometry;
  const uint32_t divisor = greatest_divisor(geometry.stride[0], geometry.dilation[0]);
  const uint32_t most = 31 - static_cast<uint32_t>(__builtin_clz(tuning.sizes));
  for (uint32_t rows = 1; rows <= most && rows <= geometry.out_height; ++rows) {
    plan.segments = divide_up(geometry.out_height, rows);
    plan.rows = rows;
    plan.strips = divide_up(size_t{geometry.out_width} * plan.segments, plan.lanes);
    plan.period = geometry.stride[0] / divisor, plan.step = geometry.dilation[0] / divisor;
    if (plan.step > rows) plan.period = geometry.kernel[0], plan.step = 0;  // nothing to share
    for (uint32_t strips = 1; strips * rows <= most; ++strips) {
      if (strips > plan.strips) break;
      if ((tuning.sizes >> strips * rows & 1) == 0) continue;
      plan.panels = divide_up(plan.strips, strips);
      plan.panel_strips = strips;
      const size_t row_bytes = size_t{plan.vectors()} * plan.lanes * sizeof(float);
      const size_t chunk = kChunkBytes / row_bytes / tuning.row_unit * tuning.row_unit;
      plan.chunk_rows = chunk < geometry.rows ? static_cast<uint32_t>(chunk) : geometry.rows;
      cut_taps(tuning.block_bytes, &plan);
      estimate(tuning, nonzero, &plan);
      if (best.lanes == 0 || plan.total_ns < best.total_ns) best = plan;
    }
  }
  return best;
}

}  // namespace sigdca
