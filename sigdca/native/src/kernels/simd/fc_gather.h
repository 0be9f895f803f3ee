// Fully connected, one image: lanes are rows, each gathers the inputs of its weights. The
// instruction set brings Ints and its operations (see <isa>/fc.cc).
#pragma once

#include "kernels/simd/fc_run.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

template <bool kExact, int kGroupsHere, class Book>
static void gather_unit(const fc::GatherLayer &layer, const uint16_t *words, uint32_t steps,
                        const Book &book, const float *input, float *sums) {
  const int gap_bits = static_cast<int>(layer.gap_bits);
  const Ints largest = set1_int((1 << gap_bits) - 1);
  Ints column[kGroupsHere];
  Vec sum[kGroupsHere];
#pragma GCC unroll 8
  for (int g = 0; g < kGroupsHere; ++g) column[g] = set1_int(-1), sum[g] = zero();
  for (uint32_t step = 0; step < steps; ++step, words += kGroupsHere * kLanes)
#pragma GCC unroll 8
    for (int g = 0; g < kGroupsHere; ++g) {
      const Ints word = load_words(words + g * kLanes);
      const Ints gap = and_int(word, largest);
      column[g] = add_int(column[g], gap);
      // A lane that only moves on reads nothing and adds 0.
      const Vec x = gather_where_less(input, column[g], gap, largest);
      sum[g] = muladd<kExact>(sum[g], x, book.get(shift_right(word, gap_bits)));
    }
#pragma GCC unroll 8
  for (int g = 0; g < kGroupsHere; ++g) store(sums + g * kLanes, sum[g]);
}

template <bool kExact, class Book>
static void gather_units(const fc::GatherLayer &layer, size_t begin, size_t end,
                         const float *input, float *output) {
  const Book book(layer.codebook.data());
  alignas(64) float sums[fc::kGroups * kLanes];
  for (size_t unit = begin; unit < end; ++unit) {
    const fc::GatherLayer::Unit &place = layer.units[unit];
    const uint16_t *words = layer.words.data() + place.first;
    switch (place.groups) {
      case 1: gather_unit<kExact, 1>(layer, words, place.steps, book, input, sums); break;
      case 2: gather_unit<kExact, 2>(layer, words, place.steps, book, input, sums); break;
      case 3: gather_unit<kExact, 3>(layer, words, place.steps, book, input, sums); break;
      default: gather_unit<kExact, 4>(layer, words, place.steps, book, input, sums);
    }
    const size_t first = place.first_lane;
    const uint32_t *order = layer.order.data() + first;
    const uint32_t lanes = place.groups * kLanes;
    for (uint32_t lane = 0; lane < lanes; lane += kLanes)
      store(sums + lane,
            finish(layer, load(sums + lane),
                   layer.epilogue.scale == nullptr ? zero()
                                                   : load(layer.scale.data() + first + lane),
                   layer.epilogue.shift == nullptr ? zero()
                                                   : load(layer.shift.data() + first + lane)));
    const size_t left = layer.rows - first;
    const uint32_t rows = left < lanes ? static_cast<uint32_t>(left) : lanes;
    for (uint32_t lane = 0; lane < rows; ++lane) output[order[lane]] = sums[lane];
  }
}

template <class Book>
static void gather_image(const fc::GatherLayer &layer, size_t begin, size_t end,
                         const float *input, float *output) {
  if (layer.exact)
    gather_units<true, Book>(layer, begin, end, input, output);
  else
    gather_units<false, Book>(layer, begin, end, input, output);
}

static void run_gather(const PreparedLayer *prepared, const Team &team, const float *input,
                       size_t n, float *output, void *) {
  const fc::GatherLayer &layer = *reinterpret_cast<const fc::GatherLayer *>(prepared);
  size_t begin = 0, end = 0;
  team.part(layer.num_units, 1, &begin, &end);
  for (size_t image = 0; image < n; ++image) {
    const float *from = input + image * layer.cols;
    float *to = output + image * layer.rows;
    if (layer.gap_bits == 12)
      gather_image<Book16>(layer, begin, end, from, to);
    else if (layer.gap_bits == 11)
      gather_image<Book32>(layer, begin, end, from, to);
    else
      gather_image<BookAny>(layer, begin, end, from, to);
  }
}

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
