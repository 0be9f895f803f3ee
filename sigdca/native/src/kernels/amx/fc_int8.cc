// Fully connected with 8-bit numbers in tiles: up to 32 images times 32 rows at a time.
#include "kernels/amx/tiles.h"
#include "kernels/avx512/fc_lanes.h"

#include "kernels/simd/fc_quantise.h"

namespace sigdca::amx {
namespace {

constexpr uint32_t kLanes = 16, kQuads = 16;  // of a tile of weights

// [image, filled up to whole tiles][column, filled up to whole tiles], and behind it the scales.
// Numbers are signed, or pixels.
struct Inputs {
  int8_t *numbers;
  float *scales;
  size_t stride;

  Inputs(const fc::Int8Layer &layer, void *scratch)
      : numbers(static_cast<int8_t *>(scratch)),
        scales(reinterpret_cast<float *>(numbers + tiled(layer.max_batch) * layer.num_quads * 4)),
        stride(size_t{layer.num_quads} * 4) {}
  static size_t tiled(size_t images) { return (images + kTileRows - 1) / kTileRows * kTileRows; }
};

void quantise_all(const fc::Int8Layer &layer, const Team &team, const float *input, size_t n,
                  const Inputs &inputs) {
  const uint32_t quads = (layer.cols + 3) / 4;
  size_t begin = 0, end = 0;
  team.part(n, 1, &begin, &end);
  for (size_t image = begin; image < end; ++image) {
    int8_t *to = inputs.numbers + image * inputs.stride;
    bool is_signed = false;
    inputs.scales[image] =
        avx512::quantise(input + image * layer.cols, layer.cols, quads, to, &is_signed);
    memset(to + size_t{quads} * 4, 0, inputs.stride - size_t{quads} * 4);
  }
}

void copy_all(const fc::Int8Layer &layer, const Team &team, const uint8_t *pixels, float scale,
              size_t n, const Inputs &inputs) {
  size_t begin = 0, end = 0;
  team.part(n, 1, &begin, &end);
  for (size_t image = begin; image < end; ++image) {
    int8_t *to = inputs.numbers + image * inputs.stride;
    inputs.scales[image] = scale;
    memcpy(to, pixels + image * layer.cols, layer.cols);
    memset(to + layer.cols, 0, inputs.stride - layer.cols);
  }
}

// Sums of two tiles of images by two vectors of rows, 16 each.
struct Sums {
  alignas(64) int32_t tile[2][2][kTileRows][kLanes];
};

#define ADD_PRODUCTS(sum, inputs, weights)  \
  do {                                      \
    if (kPixels)                            \
      _tile_dpbusd(sum, inputs, weights);   \
    else                                    \
      _tile_dpbssd(sum, inputs, weights);   \
  } while (false)

// A second vector, or tile of images, that is not there is the first one again.
template <bool kPixels>
void multiply(const int8_t *weights, size_t vectors, const int8_t *input, size_t input_stride,
              size_t second_images, size_t steps, Sums *sums) {
  const size_t stride = vectors * kLanes * 4, second_vector = (vectors - 1) * kLanes * 4;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (size_t step = 0; step < steps; ++step) {
    _tile_loadd(6, weights, stride);
    _tile_loadd(4, input, input_stride);
    ADD_PRODUCTS(0, 4, 6);
    _tile_loadd(7, weights + second_vector, stride);
    ADD_PRODUCTS(1, 4, 7);
    _tile_loadd(5, input + second_images, input_stride);
    ADD_PRODUCTS(2, 5, 6);
    ADD_PRODUCTS(3, 5, 7);
    weights += stride * kQuads, input += kQuads * 4;
  }
  _tile_stored(0, sums->tile[0][0], kTileBytes);
  _tile_stored(1, sums->tile[0][1], kTileBytes);
  _tile_stored(2, sums->tile[1][0], kTileBytes);
  _tile_stored(3, sums->tile[1][1], kTileBytes);
}
#undef ADD_PRODUCTS

// The outputs of up to 16 images and a vector of rows from `row` on.
void finish(const fc::Int8Layer &layer, const int32_t sums[][kLanes], const float *scales,
            size_t images, size_t row, float *output) {
  const size_t left = layer.rows - row, rows = left < kLanes ? left : kLanes;
  const Epilogue &epilogue = layer.epilogue;
  const avx512::Vec none = avx512::zero(), row_scale = avx512::load(layer.row_scale.data() + row);
  const avx512::Vec scale =
      epilogue.scale == nullptr ? none : avx512::load_part(epilogue.scale + row, rows);
  const avx512::Vec shift =
      epilogue.shift == nullptr ? none : avx512::load_part(epilogue.shift + row, rows);
  for (size_t image = 0; image < images; ++image) {
    const avx512::Vec factor = avx512::mul(avx512::set1(scales[image]), row_scale);
    const avx512::Vec sum =
        avx512::mul(avx512::to_float(avx512::load_int(sums[image])), factor);
    avx512::store_part(output + image * layer.rows + row,
                       avx512::finish(layer, sum, scale, shift), rows);
  }
}

// Up to two tiles of images from `image` on, times up to two vectors of rows.
template <bool kPixels>
void run_panel(const fc::Int8Layer &layer, uint32_t panel, const Inputs &inputs, size_t image,
               size_t n, float *output) {
  const size_t first = layer.first_vector(panel), vectors = layer.first_vector(panel + 1) - first;
  const bool both = image + kTileRows < n;
  Sums sums;
  multiply<kPixels>(layer.weights.data() + first * kLanes * layer.num_quads * 4, vectors,
                    inputs.numbers + image * inputs.stride, inputs.stride,
                    both ? kTileRows * inputs.stride : 0, layer.num_quads / kQuads, &sums);
  for (size_t tile = 0; tile < (both ? 2 : 1); ++tile) {
    const size_t from = image + tile * kTileRows, left = n - from;
    for (size_t v = 0; v < vectors; ++v)
      finish(layer, sums.tile[tile][v], inputs.scales + from, left < kTileRows ? left : kTileRows,
             (first + v) * kLanes, output + from * layer.rows);
  }
}

template <bool kPixels>
void run_panels(const fc::Int8Layer &layer, const Team &team, const Inputs &inputs, size_t n,
                float *output) {
  team.barrier();
  const Tiles tiles(kTileRows);
  size_t begin = 0, end = 0;
  team.part(layer.num_panels, 1, &begin, &end);
  for (size_t image = 0; image < n; image += 2 * kTileRows)
    for (size_t panel = begin; panel < end; ++panel)
      run_panel<kPixels>(layer, static_cast<uint32_t>(panel), inputs, image, n, output);
}

void run(const PreparedLayer *prepared, const Team &team, const float *input, size_t n,
         float *output, void *scratch) {
  const fc::Int8Layer &layer = *reinterpret_cast<const fc::Int8Layer *>(prepared);
  const Inputs inputs(layer, scratch);
  quantise_all(layer, team, input, n, inputs);
  run_panels<false>(layer, team, inputs, n, output);
}

// A pixel is an unsigned number of 8 bits already.
void run_pixels(const PreparedLayer *prepared, const Team &team, const uint8_t *pixels,
                float scale, size_t n, float *output, void *scratch) {
  const fc::Int8Layer &layer = *reinterpret_cast<const fc::Int8Layer *>(prepared);
  const Inputs inputs(layer, scratch);
  copy_all(layer, team, pixels, scale, n, inputs);
  run_panels<true>(layer, team, inputs, n, output);
}

double cost_ns(const LayerRequest &request, const Weights &weights) {
  // A byte for every weight: too many where few are left and a cache does not hold them.
  constexpr double kMostBytes = 512 * 1024;
  const double cells = static_cast<double>(weights.rows) * weights.cols;
  const bool few = static_cast<double>(weights.num_nonzero()) < 0.3 * cells;
  if (request.profile != SIGDCA_PROFILE_INT8 || weights.cols > fc::kInt8MostCols) return -1;
  if (request.max_batch < kTileRows / 2 || (few && cells > kMostBytes)) return -1;
  const double vectors = (weights.rows + 31) / 32 * 2, tiles = (request.max_batch + 31) / 32 * 2;
  const double steps = (weights.cols + 63) / 64;
  return 100 + request.max_batch * (20 + 0.06 * weights.cols) +
         tiles * vectors * (30 + 5 * steps);
}

sigdca_status prepare(const Context &context, const LayerRequest &request, const Weights &weights,
                      const Epilogue &epilogue, PreparedLayer **layer) {
  return fc::prepare_int8(context, request, {kLanes, 2, kQuads}, weights, epilogue, layer);
}

size_t scratch_bytes(const PreparedLayer *prepared, uint32_t) {
  const fc::Int8Layer &layer = *reinterpret_cast<const fc::Int8Layer *>(prepared);
  const size_t images = Inputs::tiled(layer.max_batch);
  return images * layer.num_quads * 4 + images * sizeof(float);
}

}  // namespace

extern const FcKernel fc_int8_batch;
const FcKernel fc_int8_batch = {"amx-int8",     cost_ns,       prepare, fc::release_int8,
                                fc::int8_bytes, scratch_bytes, run,     run_pixels};

}  // namespace sigdca::amx
