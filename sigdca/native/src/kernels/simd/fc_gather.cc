// Fully connected, lanes that gather their inputs: the layout.
#include <string.h>

#include "kernels/simd/fc_layers.h"

namespace sigdca::fc {
namespace {

uint32_t bits_of(size_t codebook_size) {
  uint32_t bits = 4;
  while ((size_t{1} << bits) < codebook_size) ++bits;
  return bits;
}

const GatherLayer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const GatherLayer *>(layer);
}

// The words of a row: calls word(code, gap) for each, fillers with code 0.
template <class Function>
void each_word(const Weights &weights, uint32_t row, uint32_t largest, Function word) {
  int64_t before = -1;
  for (uint64_t i = weights.row_start[row]; i < weights.row_start[row + 1]; ++i) {
    int64_t gap = weights.columns[i] - before;
    before = weights.columns[i];
    for (; gap >= largest; gap -= largest) word(0, largest);
    word(weights.codes[i], static_cast<uint32_t>(gap));
  }
}

// Calls unit(first lane, groups) for each.
template <class Function>
void each_unit(const Array<uint32_t> &words, const GatherLayer &layer, Function unit) {
  const auto words_of = [&](uint32_t lane) { return words[layer.order[lane]]; };
  uint32_t groups = 0;
  for (uint32_t lane = 0; lane < layer.rows; lane += groups * layer.lanes) {
    const uint32_t steps = words_of(lane);
    for (groups = 1; groups < kGroups; ++groups) {
      const uint64_t next = uint64_t{lane} + groups * layer.lanes;
      if (next >= layer.rows || words_of(static_cast<uint32_t>(next)) < steps - steps / 16) break;
    }
    unit(lane, groups);
  }
}

sigdca_status allocate_units(const Context &context, const Array<uint32_t> &words,
                             GatherLayer *layer) {
  each_unit(words, *layer, [&](uint32_t, uint32_t) { ++layer->num_units; });
  SIGDCA_TRY(layer->units.allocate(context, layer->num_units));
  uint64_t total = 0;
  uint32_t number = 0;
  each_unit(words, *layer, [&](uint32_t lane, uint32_t groups) {
    const uint32_t steps = words[layer->order[lane]];
    layer->units[number++] = {total, lane, steps, groups};
    total += uint64_t{steps} * groups * layer->lanes;
  });
  SIGDCA_TRY(layer->words.allocate(context, total));
  if (total != 0) memset(layer->words.data(), 0xff, layer->words.bytes());  // the largest gap
  return SIGDCA_OK;
}

// Sorts the rows by their number of words, most first; equal ones stay in their order.
sigdca_status sort_rows(const Context &context, const Array<uint32_t> &words,
                        GatherLayer *layer) {
  uint32_t most = 0;
  for (uint32_t row = 0; row < layer->rows; ++row) most = words[row] > most ? words[row] : most;
  Array<uint32_t> place;  // by number of words
  SIGDCA_TRY(place.allocate(context, size_t{most} + 2));
  memset(place.data(), 0, place.bytes());
  for (uint32_t row = 0; row < layer->rows; ++row) ++place[most - words[row] + 1];
  for (uint32_t i = 0; i <= most; ++i) place[i + 1] += place[i];
  const size_t slots = (size_t{layer->rows} + layer->lanes - 1) / layer->lanes * layer->lanes;
  SIGDCA_TRY(layer->order.allocate(context, slots));
  for (size_t i = layer->rows; i < slots; ++i) layer->order[i] = layer->rows;
  for (uint32_t row = 0; row < layer->rows; ++row)
    layer->order[place[most - words[row]]++] = row;
  return SIGDCA_OK;
}

sigdca_status copy_in_order(const Context &context, const GatherLayer &layer, const float *from,
                            Array<float> *to) {
  if (from == nullptr) return SIGDCA_OK;
  SIGDCA_TRY(to->allocate(context, layer.order.size()));
  for (size_t i = 0; i < to->size(); ++i)
    (*to)[i] = layer.order[i] < layer.rows ? from[layer.order[i]] : 0;
  return SIGDCA_OK;
}

sigdca_status fill(const Context &context, const Weights &weights, GatherLayer *layer) {
  const uint32_t largest = (1u << layer->gap_bits) - 1;
  Array<uint32_t> words;
  SIGDCA_TRY(words.allocate(context, weights.rows));
  for (uint32_t row = 0; row < weights.rows; ++row) {
    uint32_t count = 0;
    each_word(weights, row, largest, [&](uint32_t, uint32_t) { ++count; });
    words[row] = count;
  }
  SIGDCA_TRY(sort_rows(context, words, layer));
  SIGDCA_TRY(allocate_units(context, words, layer));
  SIGDCA_TRY(copy_in_order(context, *layer, layer->epilogue.scale, &layer->scale));
  SIGDCA_TRY(copy_in_order(context, *layer, layer->epilogue.shift, &layer->shift));
  SIGDCA_TRY(copy_codebook(context, weights, &layer->codebook));
  for (uint32_t unit = 0; unit < layer->num_units; ++unit) {
    const GatherLayer::Unit &place = layer->units[unit];
    const uint32_t width = place.groups * layer->lanes;
    for (uint32_t lane = 0; lane < width; ++lane) {
      const uint32_t row = layer->order[place.first_lane + lane];
      if (row >= layer->rows) continue;
      uint16_t *to = layer->words.data() + place.first + lane;
      each_word(weights, row, largest, [&](uint32_t code, uint32_t gap) {
        *to = static_cast<uint16_t>(code << layer->gap_bits | gap);
        to += width;
      });
    }
  }
  layer->bytes = layer->units.bytes() + layer->words.bytes() + layer->order.bytes() +
                 layer->scale.bytes() + layer->shift.bytes() + layer->codebook.bytes();
  return SIGDCA_OK;
}

}  // namespace

bool can_gather(const Weights &weights) {
  return weights.shared() && weights.codebook.size() <= 256 && weights.rows != 0;
}

double gather_words(const Weights &weights) {
  const double largest = (1u << (16 - bits_of(weights.codebook.size()))) - 1;
  const double cells = static_cast<double>(weights.rows) * weights.cols;
  // Rows are filled up to the longest of their group, and groups with empty rows.
  const double filled_up = 1.1 * ((weights.rows + 15) / 16 * 16) / weights.rows;
  return filled_up * static_cast<double>(weights.num_nonzero()) + cells / largest / 4;
}

sigdca_status prepare_gather(const Context &context, const LayerRequest &request, uint32_t lanes,
                             const Weights &weights, const Epilogue &epilogue,
                             PreparedLayer **layer) {
  GatherLayer *made = nullptr;
  SIGDCA_TRY(make(context, &made));
  describe(context, request, weights, epilogue, made);
  made->lanes = lanes;
  made->gap_bits = 16 - bits_of(weights.codebook.size());
  const sigdca_status status = fill(context, weights, made);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, made);
    return status;
  }
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

void release_gather(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<GatherLayer *>(layer));
}

size_t gather_bytes(const PreparedLayer *layer) { return of(layer)->bytes; }

}  // namespace sigdca::fc
