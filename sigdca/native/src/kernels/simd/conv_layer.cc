#include "kernels/simd/conv_layer.h"

#include "core/object.h"

namespace sigdca {
namespace {

// Writes the weights' lists in the order of their use.
class Lister {
 public:
  Lister(const Context &context, const Weights &weights, ConvLayer *layer)
      : context_(context), weights_(weights), layer_(*layer), plan_(layer->plan) {}

  sigdca_status sparse() {
    const ConvGeometry &geometry = plan_.geometry;
    const size_t lists = size_t{geometry.groups} * plan_.num_blocks * geometry.rows;
    SIGDCA_TRY(layer_.starts.allocate(context_, lists + 1));
    SIGDCA_TRY(layer_.offsets.allocate(context_, weights_.num_nonzero()));
    SIGDCA_TRY(allocate_values());
    SIGDCA_TRY(places_.allocate(context_, geometry.rows));
    size_t list = 0;
    for (uint32_t group = 0; group < geometry.groups; ++group) {
      const uint64_t *row_start = weights_.row_start.data() + size_t{group} * geometry.rows;
      for (uint32_t row = 0; row < geometry.rows; ++row) places_[row] = row_start[row];
      for (uint32_t index = 0; index < plan_.num_blocks; ++index) {
        const ConvBlock block = plan_.block(index);
        SIGDCA_TRY(set_taps(block));
        for (uint32_t row = 0; row < geometry.rows; ++row) {
          layer_.starts[list++] = static_cast<uint32_t>(count_);
          add_list(block, row, row_start[row + 1]);
        }
      }
    }
    layer_.starts[list] = static_cast<uint32_t>(count_);
    return SIGDCA_OK;
  }

  sigdca_status dense() {
    const ConvGeometry &geometry = plan_.geometry;
    const size_t taps = geometry.taps(), rows = size_t{layer_.num_tiles()} * layer_.tile_rows;
    SIGDCA_TRY(layer_.values.allocate(context_, geometry.groups * taps * rows));
    SIGDCA_TRY(layer_.offsets.allocate(context_, taps));
    for (float &value : layer_.values) value = 0;
    for (uint32_t index = 0; index < plan_.num_blocks; ++index) {
      const ConvBlock block = plan_.block(index);
      for (uint32_t tap = 0; tap < block.num_taps; ++tap)
        layer_.offsets[block.first_tap + tap] =
            static_cast<uint16_t>(plan_.tap_offset(block, tap));
    }
    for (uint32_t row = 0; row < weights_.rows; ++row) {
      const uint32_t group = row / geometry.rows, place = row % geometry.rows;
      float *values = layer_.values.data() + group * taps * rows;
      uint32_t index = 0;
      ConvBlock block = plan_.block(0);
      for (uint64_t i = weights_.row_start[row]; i < weights_.row_start[row + 1]; ++i) {
        const uint32_t tap = weights_.columns[i];
        while (tap - block.first_tap >= block.num_taps) block = plan_.block(++index);
        const size_t tile = size_t{place} / layer_.tile_rows * block.num_taps + tap - block.first_tap;
        values[block.first_tap * rows + tile * layer_.tile_rows + place % layer_.tile_rows] =
            weights_.value(i);
      }
    }
    return SIGDCA_OK;
  }

 private:
  sigdca_status allocate_values() {
    const size_t count = weights_.num_nonzero(), size = weights_.codebook.size();
    if (!has_codes(weights_)) return layer_.values.allocate(context_, count);
    const uint32_t repeat = layer_.code_floats;
    SIGDCA_TRY(layer_.codebook.allocate(context_, size * repeat));
    for (size_t i = 0; i < size * repeat; ++i)
      layer_.codebook[i] = weights_.codebook[i / repeat];
    return layer_.codes.allocate(context_, count);
  }

  sigdca_status set_taps(const ConvBlock &block) {
    if (taps_.size() < block.num_taps) SIGDCA_TRY(taps_.allocate(context_, block.num_taps));
    for (uint32_t tap = 0; tap < block.num_taps; ++tap)
      taps_[tap] = static_cast<uint16_t>(plan_.tap_offset(block, tap));
    return SIGDCA_OK;
  }

  void add_list(const ConvBlock &block, uint32_t row, uint64_t end) {
    uint64_t place = places_[row];
    for (; place < end; ++place, ++count_) {
      const uint32_t tap = weights_.columns[place] - block.first_tap;
      if (tap >= block.num_taps) break;
      layer_.offsets[count_] = taps_[tap];
      if (layer_.codes.size() != 0)
        layer_.codes[count_] = static_cast<uint8_t>(weights_.codes[place]);
      else
        layer_.values[count_] = weights_.value(place);
    }
    places_[row] = place;
  }

  const Context &context_;
  const Weights &weights_;
  ConvLayer &layer_;
  const ConvPlan &plan_;
  Array<uint64_t> places_;  // of each row: the first weight that is not yet listed
  Array<uint16_t> taps_;    // of the block at work
  size_t count_ = 0;
};

sigdca_status prepare(const Context &context, const ConvTuning &tuning, bool dense,
                      const LayerRequest &request, const ConvShape &shape, const Weights &weights,
                      const Epilogue &epilogue, PreparedLayer **prepared) {
  ConvLayer *layer = nullptr;
  SIGDCA_TRY(make(context, &layer));
  layer->allocator = context.allocator;
  layer->epilogue = epilogue;
  layer->exact = request.profile == SIGDCA_PROFILE_EXACT;
  layer->dense = dense;
  layer->tile_rows = tuning.row_unit;
  layer->code_floats = tuning.code_floats;
  const double all = static_cast<double>(weights.rows) * weights.cols;
  layer->plan = make_plan(tuning, shape, dense ? all : static_cast<double>(weights.num_nonzero()));
  Lister lister(context, weights, layer);
  const sigdca_status status = dense ? lister.dense() : lister.sparse();
  if (status != SIGDCA_OK) {
    destroy(context.allocator, layer);
    return status;
  }
  *prepared = reinterpret_cast<PreparedLayer *>(layer);
  return SIGDCA_OK;
}

const ConvLayer *of(const PreparedLayer *prepared) {
  return reinterpret_cast<const ConvLayer *>(prepared);
}

}  // namespace

sigdca_status prepare_sparse_conv(const Context &context, const ConvTuning &tuning,
                                  const LayerRequest &request, const ConvShape &shape,
                                  const Weights &weights, const Epilogue &epilogue,
                                  PreparedLayer **prepared) {
  return prepare(context, tuning, false, request, shape, weights, epilogue, prepared);
}

sigdca_status prepare_dense_conv(const Context &context, const ConvTuning &tuning,
                                 const LayerRequest &request, const ConvShape &shape,
                                 const Weights &weights, const Epilogue &epilogue,
                                 PreparedLayer **prepared) {
  return prepare(context, tuning, true, request, shape, weights, epilogue, prepared);
}

void release_conv(const Context &context, PreparedLayer *prepared) {
  destroy(context.allocator, reinterpret_cast<ConvLayer *>(prepared));
}

size_t conv_weight_bytes(const PreparedLayer *prepared) { return of(prepared)->weight_bytes(); }

size_t conv_scratch_bytes(const PreparedLayer *prepared, uint32_t team_size) {
  return of(prepared)->thread_floats() * sizeof(float) * team_size;
}

}  // namespace sigdca
