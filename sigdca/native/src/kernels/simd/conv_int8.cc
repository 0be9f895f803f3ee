// Convolution with 8-bit numbers, but for what an instruction set brings.
#include "core/object.h"
#include "kernels/simd/conv_int8_image.h"

namespace sigdca {
namespace {

constexpr double kMostWeights = 100000;  // of a row, so that 32 bits hold its sums

struct Int8Layer {
  const Int8Isa *isa = nullptr;
  ConvRuns runs;
  Array<uint32_t> starts;  // of runs
  Array<int8_t> weights;
  Int8Outputs outputs;
};

// Where a block has the weight of one of its output channels.
size_t place_in_block(const Int8Isa &isa, size_t place, size_t lane) {
  const size_t step = place / 4 * isa.block * 4, in_step = place % 4;
  if (!isa.pairs) return step + lane * 4 + in_step;
  return step + lane / 4 * 16 + in_step / 2 * 8 + lane % 4 * 2 + in_step % 2;
}

sigdca_status fill(const Context &context, const Weights &weights, const Epilogue &epilogue,
                   Int8Layer *layer) {
  const ConvRuns &runs = layer->runs;
  Int8Row8 row8;
  SIGDCA_TRY(row8.allocate(context, runs));
  SIGDCA_TRY(layer->starts.allocate(context, runs.num_runs));
  SIGDCA_TRY(layer->weights.allocate(context, runs.all_blocks() * runs.block_values()));
  SIGDCA_TRY(layer->outputs.allocate(context, runs.all_blocks() * runs.block, epilogue));
  memset(layer->weights.data(), 0, layer->weights.bytes());
  for (size_t run = 0; run < runs.num_runs; ++run)
    layer->starts[run] = static_cast<uint32_t>(runs.run_start(run));
  for (size_t row = 0; row < weights.rows; ++row) {
    row8.read(weights, runs, row);
    const size_t number = runs.block_of(row), lane = runs.lane_of(row);
    int8_t *block = layer->weights.data() + number * runs.block_values();
    for (size_t i = 0; i < row8.bytes.size(); ++i)
      block[place_in_block(*layer->isa, i, lane)] = row8.bytes[i];
    layer->outputs.set(number * runs.block + lane, row8, epilogue, row);
  }
  return SIGDCA_OK;
}

// One block of output channels in one band of rows.
void compute_block(const Int8Layer &layer, const Int8Image &image, size_t band, size_t number,
                   float *output) {
  const ConvRuns &runs = layer.runs;
  const Shape &shape = runs.shape.output;
  const Window &window = runs.shape.window;
  const size_t block = runs.block, place = number * block;
  const size_t group = number / runs.blocks, first = number % runs.blocks * block;
  alignas(64) int32_t correction[64];
  for (size_t i = 0; i < block; ++i) correction[i] = image.zero() * layer.outputs.sums[place + i];
  Int8Job job{};
  job.image = image.bytes() + group * runs.group_values();
  job.row_bytes = runs.line() * window.stride[0];
  job.pixel_bytes = runs.channels * window.stride[1];
  job.runs = layer.starts.data(), job.num_runs = runs.num_runs;
  job.run_steps = runs.run_values / 4;
  job.weights = layer.weights.data() + number * runs.block_values();
  job.correction = correction;
  job.scale = layer.outputs.scales.data() + place;
  job.shift = layer.outputs.shifts.data() + place;
  job.image_scale = image.scale(), job.low = layer.outputs.low, job.high = layer.outputs.high;
  job.channels = runs.rows - first < block ? runs.rows - first : block;
  job.width = shape.width, job.plane = size_t{shape.height} * shape.width;
  job.begin = band * runs.band_rows;
  job.end = job.begin + runs.band_rows;
  if (job.end > shape.height) job.end = shape.height;
  job.to = output + (group * runs.rows + first) * job.plane;
  layer.isa->compute(job);
}

const Int8Layer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const Int8Layer *>(layer);
}

}  // namespace

double int8_cost_ns(const Int8Isa &isa, const LayerRequest &request, const ConvShape &shape,
                    const Weights &weights) {
  if (request.profile != SIGDCA_PROFILE_INT8 || weights.cols > kMostWeights) return -1;
  const ConvRuns runs(shape, isa.block, isa.unit, 1);
  const double bytes = static_cast<double>(runs.image_values());
  if (!(bytes < 1u << 31)) return -1;
  const double outputs = static_cast<double>(shape.output.values());
  const double pixels = 1.0 * shape.output.height * shape.output.width;
  const double products = pixels * static_cast<double>(runs.all_blocks()) *
                          static_cast<double>(runs.block_values());
  return 1000 + values_ns(bytes, isa.load_ns) + values_ns(outputs, isa.store_ns) +
         products * isa.product_ns;
}

sigdca_status int8_prepare(const Int8Isa &isa, const Context &context, const ConvShape &shape,
                           const Weights &weights, const Epilogue &epilogue,
                           PreparedLayer **prepared) {
  Int8Layer *layer = nullptr;
  SIGDCA_TRY(make(context, &layer));
  layer->isa = &isa;
  layer->runs = ConvRuns(shape, isa.block, isa.unit, 1);
  const sigdca_status status = fill(context, weights, epilogue, layer);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, layer);
    return status;
  }
  *prepared = reinterpret_cast<PreparedLayer *>(layer);
  return SIGDCA_OK;
}

void int8_release(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<Int8Layer *>(layer));
}

size_t int8_weight_bytes(const PreparedLayer *layer) {
  const Int8Layer &made = *of(layer);
  return made.weights.bytes() + made.outputs.bytes() + made.starts.bytes();
}

size_t int8_scratch_bytes(const PreparedLayer *layer, uint32_t team_size) {
  return Int8Image::scratch_bytes(of(layer)->runs, team_size);
}

void int8_run(const PreparedLayer *prepared, const Team &team, const float *input, float *output,
              void *scratch) {
  const Int8Layer &layer = *of(prepared);
  Int8Image image(*layer.isa, layer.runs, team, input, scratch);
  image.find_range();
  team.barrier();
  image.make_bytes();
  team.barrier();
  size_t begin = 0, end = 0;
  const size_t blocks = layer.runs.all_blocks();
  team.part(layer.runs.bands * blocks, 1, &begin, &end);
  for (size_t i = begin; i < end; ++i)
    compute_block(layer, image, i / blocks, i % blocks, output);
}

}  // namespace sigdca
