// Convolution with split numbers, but for what an instruction set brings.
#include "kernels/simd/conv_split.h"

#include <string.h>

#include "core/object.h"
#include "kernels/simd/conv_runs.h"

namespace sigdca {
namespace {

constexpr size_t kSlack = kSplitUnit;  // behind an image: a run's last unit may reach there

struct SplitLayer {
  const SplitIsa *isa = nullptr;
  ConvRuns runs;
  float least = 0, most = 0;
  Array<uint32_t> starts;  // of runs
  Array<uint16_t> weights;
  Array<float> scales, shifts;

  // Of the high or the low parts.
  size_t image_values() const { return (runs.image_values() + kSlack + 31) / 32 * 32; }
};

// The nearest bfloat16 number, halves to even. Not for NaN.
uint16_t rounded(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float widened(uint16_t value) {
  const uint32_t bits = uint32_t{value} << 16;
  float result;
  memcpy(&result, &bits, sizeof(result));
  return result;
}

sigdca_status fill(const Context &context, const Weights &weights, const Epilogue &epilogue,
                   SplitLayer *layer) {
  const ConvRuns &runs = layer->runs;
  const size_t padded = runs.all_blocks() * runs.block;
  SIGDCA_TRY(layer->starts.allocate(context, runs.num_runs));
  SIGDCA_TRY(layer->weights.allocate(context, 2 * runs.all_blocks() * runs.block_values()));
  SIGDCA_TRY(layer->scales.allocate(context, padded));
  SIGDCA_TRY(layer->shifts.allocate(context, padded));
  memset(layer->weights.data(), 0, layer->weights.bytes());
  for (size_t i = 0; i < padded; ++i) layer->scales[i] = 1, layer->shifts[i] = 0;
  for (size_t run = 0; run < runs.num_runs; ++run)
    layer->starts[run] = static_cast<uint32_t>(runs.run_start(run));
  constexpr size_t kHalf = kSplitUnit * kSplitBlock;  // the high or low parts of a unit
  for (size_t row = 0; row < weights.rows; ++row) {
    uint16_t *block = layer->weights.data() + 2 * runs.block_of(row) * runs.block_values();
    const size_t lane = runs.lane_of(row);
    for (uint64_t i = weights.row_start[row]; i < weights.row_start[row + 1]; ++i) {
      const size_t place = runs.place(weights.columns[i]), in_unit = place % kSplitUnit;
      uint16_t *to = block + place / kSplitUnit * 2 * kHalf +
                     (in_unit / 2 * kSplitBlock + lane) * 2 + in_unit % 2;
      const float value = weights.value(i);
      to[0] = rounded(value);
      to[kHalf] = rounded(value - widened(to[0]));
    }
    const size_t place = runs.block_of(row) * runs.block + lane;
    if (epilogue.scale != nullptr) layer->scales[place] = epilogue.scale[row];
    if (epilogue.shift != nullptr) layer->shifts[place] = epilogue.shift[row];
  }
  layer->least = epilogue.low, layer->most = epilogue.high;
  return SIGDCA_OK;
}

// One thread's part of a run.
class SplitRun {
 public:
  SplitRun(const SplitLayer &layer, const Team &team, const float *input, float *output,
           void *scratch)
      : layer_(layer),
        runs_(layer.runs),
        team_(team),
        input_(input),
        output_(output),
        high_(static_cast<uint16_t *>(scratch)),
        low_(high_ + layer.image_values()) {}

  void make_image() {
    size_t begin = 0, end = 0;
    team_.part(runs_.shape.groups * runs_.height, 1, &begin, &end);
    for (size_t i = begin; i < end; ++i) make_row(i / runs_.height, i % runs_.height);
    if (team_.rank != 0) return;
    clear(runs_.image_values(), layer_.image_values() - runs_.image_values());
  }

  void compute() {
    size_t begin = 0, end = 0;
    team_.part(runs_.bands * runs_.all_blocks(), 1, &begin, &end);
    for (size_t i = begin; i < end; ++i)
      compute_block(i / runs_.all_blocks(), i % runs_.all_blocks());
  }

 private:
  void clear(size_t first, size_t count) {
    memset(high_ + first, 0, count * sizeof(uint16_t));
    memset(low_ + first, 0, count * sizeof(uint16_t));
  }

  void make_row(size_t group, size_t y) {
    const Shape &shape = runs_.shape.input;
    const size_t channels = runs_.channels, plane = size_t{shape.height} * shape.width;
    const ConvRow row(runs_, y);
    size_t place = group * runs_.group_values() + y * runs_.line();
    clear(place, row.left * channels);
    place += row.left * channels;
    if (row.width == 0) return;
    layer_.isa->pack(SplitRow{input_ + group * channels * plane + row.from, plane, channels,
                              row.width, high_ + place, low_ + place});
    clear(place + row.width * channels, row.right * channels);
  }

  void compute_block(size_t band, size_t number) {
    const Shape &shape = runs_.shape.output;
    const Window &window = runs_.shape.window;
    const size_t block = runs_.block, place = number * block;
    const size_t group = number / runs_.blocks, first = number % runs_.blocks * block;
    SplitJob job{};
    job.high = high_ + group * runs_.group_values();
    job.low = low_ + group * runs_.group_values();
    job.row_values = runs_.line() * window.stride[0];
    job.pixel_values = runs_.channels * window.stride[1];
    job.runs = layer_.starts.data(), job.num_runs = runs_.num_runs;
    job.run_units = runs_.run_values / kSplitUnit;
    job.weights = layer_.weights.data() + 2 * number * runs_.block_values();
    job.scale = layer_.scales.data() + place, job.shift = layer_.shifts.data() + place;
    job.least = layer_.least, job.most = layer_.most;
    job.channels = runs_.rows - first < block ? runs_.rows - first : block;
    job.width = shape.width, job.plane = size_t{shape.height} * shape.width;
    job.begin = band * runs_.band_rows;
    job.end = job.begin + runs_.band_rows;
    if (job.end > shape.height) job.end = shape.height;
    job.to = output_ + (group * runs_.rows + first) * job.plane;
    layer_.isa->compute(job);
  }

  const SplitLayer &layer_;
  const ConvRuns &runs_;
  const Team &team_;
  const float *input_;
  float *output_;
  uint16_t *high_, *low_;
};

const SplitLayer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const SplitLayer *>(layer);
}

}  // namespace

double split_cost_ns(const SplitIsa &isa, const LayerRequest &request, const ConvShape &shape) {
  if (request.profile == SIGDCA_PROFILE_EXACT) return -1;
  const ConvRuns runs(shape, kSplitBlock, kSplitUnit, 2 * sizeof(uint16_t));
  const double values = static_cast<double>(runs.image_values());
  if (!(values < 1u << 30)) return -1;
  const double outputs = static_cast<double>(shape.output.values());
  const double pixels = 1.0 * shape.output.height * shape.output.width;
  const double products = pixels * static_cast<double>(runs.all_blocks()) *
                          static_cast<double>(runs.block_values());
  return 2000 + values_ns(values, isa.load_ns) + values_ns(outputs, isa.store_ns) +
         products * isa.product_ns;
}

sigdca_status split_prepare(const SplitIsa &isa, const Context &context, const ConvShape &shape,
                            const Weights &weights, const Epilogue &epilogue,
                            PreparedLayer **prepared) {
  SplitLayer *layer = nullptr;
  SIGDCA_TRY(make(context, &layer));
  layer->isa = &isa;
  layer->runs = ConvRuns(shape, kSplitBlock, kSplitUnit, 2 * sizeof(uint16_t));
  const sigdca_status status = fill(context, weights, epilogue, layer);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, layer);
    return status;
  }
  *prepared = reinterpret_cast<PreparedLayer *>(layer);
  return SIGDCA_OK;
}

void split_release(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<SplitLayer *>(layer));
}

size_t split_weight_bytes(const PreparedLayer *layer) {
  const SplitLayer &made = *of(layer);
  return made.weights.bytes() + made.scales.bytes() + made.shifts.bytes() + made.starts.bytes();
}

size_t split_scratch_bytes(const PreparedLayer *layer, uint32_t) {
  return 2 * of(layer)->image_values() * sizeof(uint16_t);
}

void split_run(const PreparedLayer *prepared, const Team &team, const float *input,
               float *output, void *scratch) {
  SplitRun run(*of(prepared), team, input, output, scratch);
  run.make_image();
  team.barrier();
  run.compute();
}

}  // namespace sigdca
