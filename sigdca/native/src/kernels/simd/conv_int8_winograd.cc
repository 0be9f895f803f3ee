// Winograd's convolution with 8-bit numbers, but for what an instruction set brings.
#include "kernels/simd/conv_int8_winograd.h"

#include "core/object.h"
#include "kernels/simd/conv_int8_image.h"

namespace sigdca {
namespace {

constexpr size_t kMostChannels = 3000;  // four times a sum has 32 bits
constexpr size_t kInputBytes = 640 * 1024;  // transformed, in the second-level cache
constexpr size_t kMostTiles = 96, kUnit = 12;

struct WinogradLayer {
  const Int8WinogradIsa *isa = nullptr;
  ConvRuns runs;
  size_t depth = 0;                  // channels filled up to eights
  size_t tiles_in_row = 0, tiles = 0;
  size_t room = 0;                   // tiles that are computed together
  Array<int16_t> weights;
  Int8Outputs outputs;

  size_t block_weights() const { return kPlaces * depth * runs.block; }
  size_t input_values() const { return kPlaces * room * depth; }
  size_t sum_values() const { return kPlaces * room * runs.block; }
  size_t thread_bytes() const {
    return input_values() * sizeof(int16_t) + sum_values() * sizeof(int32_t);
  }
};

ConvRuns runs_of(const Int8WinogradIsa &isa, const ConvShape &shape) {
  ConvRuns runs(shape, isa.bytes.block, 4, 1);
  // Whole tiles, so a row and a column more where the output's are odd.
  runs.height = (shape.output.height + size_t{1}) / 2 * 2 + 2;
  runs.width = (shape.output.width + size_t{1}) / 2 * 2 + 2;
  return runs;
}

void describe(const Int8WinogradIsa &isa, const ConvShape &shape, WinogradLayer *layer) {
  layer->isa = &isa;
  layer->runs = runs_of(isa, shape);
  layer->depth = (layer->runs.channels + 7) / 8 * 8;
  layer->tiles_in_row = layer->runs.width / 2 - 1;
  layer->tiles = layer->tiles_in_row * (layer->runs.height / 2 - 1);
  // As many parts as are needed, all about as large.
  size_t most = kInputBytes / (kPlaces * layer->depth * sizeof(int16_t));
  most = most > kMostTiles ? kMostTiles : most < kUnit ? kUnit : most;
  const size_t parts = (layer->tiles + most - 1) / most;
  const size_t each = (layer->tiles + parts - 1) / parts;
  layer->room = parts == 1 ? each : (each + kUnit - 1) / kUnit * kUnit;
}

// 2 G w (2 G)^T
void transform(const int32_t (&w)[3][3], int32_t (&u)[4][4]) {
  int32_t half[4][3];
  for (int x = 0; x < 3; ++x) {
    half[0][x] = 2 * w[0][x], half[3][x] = 2 * w[2][x];
    half[1][x] = w[0][x] + w[1][x] + w[2][x];
    half[2][x] = w[0][x] - w[1][x] + w[2][x];
  }
  for (int y = 0; y < 4; ++y) {
    u[y][0] = 2 * half[y][0], u[y][3] = 2 * half[y][2];
    u[y][1] = half[y][0] + half[y][1] + half[y][2];
    u[y][2] = half[y][0] - half[y][1] + half[y][2];
  }
}

void put_row(const WinogradLayer &layer, const Int8Row8 &row, size_t lane, int16_t *block) {
  const ConvRuns &runs = layer.runs;
  for (size_t channel = 0; channel < runs.channels; ++channel) {
    int32_t taps[3][3], places[4][4];
    for (size_t tap = 0; tap < 9; ++tap)
      taps[tap / 3][tap % 3] = row.bytes[runs.place(channel * 9 + tap)];
    transform(taps, places);
    for (size_t place = 0; place < kPlaces; ++place) {
      const size_t pair = place * layer.depth / 2 + channel / 2;
      block[(pair * runs.block + lane) * 2 + channel % 2] =
          static_cast<int16_t>(places[place / 4][place % 4]);
    }
  }
}

sigdca_status fill(const Context &context, const Weights &weights, const Epilogue &epilogue,
                   WinogradLayer *layer) {
  const ConvRuns &runs = layer->runs;
  Int8Row8 row8;
  SIGDCA_TRY(row8.allocate(context, runs));
  SIGDCA_TRY(layer->weights.allocate(context, runs.blocks * layer->block_weights()));
  SIGDCA_TRY(layer->outputs.allocate(context, runs.blocks * runs.block, epilogue));
  memset(layer->weights.data(), 0, layer->weights.bytes());
  for (size_t row = 0; row < weights.rows; ++row) {
    row8.read(weights, runs, row);
    const size_t number = runs.block_of(row), lane = runs.lane_of(row);
    put_row(*layer, row8, lane, layer->weights.data() + number * layer->block_weights());
    layer->outputs.set(number * runs.block + lane, row8, epilogue, row);
  }
  return SIGDCA_OK;
}

// Of one block.
void compute_block(const WinogradLayer &layer, const Int8Image &image, size_t number,
                   float *output, Int8Tiles *tiles) {
  const ConvRuns &runs = layer.runs;
  const size_t block = runs.block, place = number * block, first = number * block;
  alignas(64) int32_t correction[64];
  for (size_t i = 0; i < block; ++i) correction[i] = image.zero() * layer.outputs.sums[place + i];
  tiles->weights = layer.weights.data() + number * layer.block_weights();
  tiles->correction = correction;
  tiles->scale = layer.outputs.scales.data() + place;
  tiles->shift = layer.outputs.shifts.data() + place;
  tiles->outputs = runs.rows - first < block ? runs.rows - first : block;
  tiles->to = output + first * tiles->height * tiles->width;
  layer.isa->compute(*tiles);
}

const WinogradLayer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const WinogradLayer *>(layer);
}

}  // namespace

double int8_winograd_cost_ns(const Int8WinogradIsa &isa, const LayerRequest &request,
                             const ConvShape &shape) {
  if (request.profile != SIGDCA_PROFILE_INT8 || shape.groups != 1) return -1;
  if (shape.input.channels > kMostChannels) return -1;
  const Window &window = shape.window;
  for (int i = 0; i < 2; ++i)
    if (window.kernel[i] != 3 || window.stride[i] != 1 || window.dilation[i] != 1) return -1;
  if (!(static_cast<double>(runs_of(isa, shape).image_values()) < 1u << 31)) return -1;
  WinogradLayer layer;
  describe(isa, shape, &layer);
  const double bytes = static_cast<double>(layer.runs.image_values());
  const double outputs = static_cast<double>(shape.output.values());
  const double products = static_cast<double>(layer.tiles) *
                          static_cast<double>(layer.runs.blocks * layer.block_weights());
  return 1500 + values_ns(bytes, isa.bytes.load_ns) + values_ns(outputs, isa.bytes.store_ns) +
         products * isa.bytes.product_ns;
}

sigdca_status int8_winograd_prepare(const Int8WinogradIsa &isa, const Context &context,
                                    const ConvShape &shape, const Weights &weights,
                                    const Epilogue &epilogue, PreparedLayer **prepared) {
  WinogradLayer *layer = nullptr;
  SIGDCA_TRY(make(context, &layer));
  describe(isa, shape, layer);
  const sigdca_status status = fill(context, weights, epilogue, layer);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, layer);
    return status;
  }
  *prepared = reinterpret_cast<PreparedLayer *>(layer);
  return SIGDCA_OK;
}

void int8_winograd_release(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<WinogradLayer *>(layer));
}

size_t int8_winograd_weight_bytes(const PreparedLayer *layer) {
  return of(layer)->weights.bytes() + of(layer)->outputs.bytes();
}

size_t int8_winograd_scratch_bytes(const PreparedLayer *layer, uint32_t team_size) {
  return Int8Image::scratch_bytes(of(layer)->runs, team_size) +
         team_size * ((of(layer)->thread_bytes() + 63) / 64 * 64);
}

// Each thread transforms all tiles for its own blocks: that is little work, and they stay in its
// cache.
void int8_winograd_run(const PreparedLayer *prepared, const Team &team, const float *input,
                       float *output, void *scratch) {
  const WinogradLayer &layer = *of(prepared);
  const ConvRuns &runs = layer.runs;
  Int8Image image(layer.isa->bytes, runs, team, input, scratch);
  image.find_range();
  team.barrier();
  image.make_bytes();
  team.barrier();
  size_t begin = 0, end = 0;
  team.part(runs.blocks, 1, &begin, &end);
  if (begin == end) return;
  uint8_t *own = static_cast<uint8_t *>(scratch) + Int8Image::scratch_bytes(runs, team.size) +
                 team.rank * ((layer.thread_bytes() + 63) / 64 * 64);
  Int8Tiles tiles{};
  tiles.image = image.bytes(), tiles.line = runs.line(), tiles.channels = runs.channels;
  tiles.tiles_in_row = layer.tiles_in_row;
  tiles.depth = layer.depth, tiles.room = layer.room;
  tiles.sums = reinterpret_cast<int32_t *>(own);
  tiles.inputs = reinterpret_cast<int16_t *>(tiles.sums + layer.sum_values());
  tiles.image_scale = image.scale(), tiles.low = layer.outputs.low;
  tiles.high = layer.outputs.high;
  tiles.height = runs.shape.output.height, tiles.width = runs.shape.output.width;
  for (size_t first = 0; first < layer.tiles; first += layer.room) {
    tiles.first = first;
    tiles.count = layer.tiles - first < layer.room ? layer.tiles - first : layer.room;
    layer.isa->transform(tiles);
    for (size_t block = begin; block < end; ++block)
      compute_block(layer, image, block, output, &tiles);
  }
}

}  // namespace sigdca
