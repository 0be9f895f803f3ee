// What a run does, decided once: the graph's operators as a list of steps, and where in memory
// their values lie.
#pragma once

#include "container/graph.h"
#include "kernels/kernels.h"

namespace sigdca {

enum class StepKind : uint8_t {
  kConv,
  kFc,
  kMaxPool,
  kAvgPool,
  kGlobalAvgPool,
  kClamp,
  kScaleShift,
  kLrn,
  kSoftmax,
  kAdd,
  kConcat,
};

constexpr uint32_t kNone = UINT32_MAX;

// One step. A convolution takes a batch norm and ReLUs behind it into its epilogue, a fully
// connected layer ReLUs; a flatten is no step, but another shape of the same slot.
struct Step {
  StepKind kind;
  uint32_t op;    // in Graph::ops
  uint32_t norm;  // the batch norm operator that it contains, or kNone
  Shape input, output;
  float low, high;  // clamp
  uint32_t first_input, num_inputs;  // in Plan::inputs
  uint32_t output_slot;
  uint32_t layer;  // in Session::layers, for conv, fc and scale_shift; else kNone
};

// A value's place. Slot 0 is the network's input.
struct Slot {
  size_t values;  // of one image
  size_t offset;  // bytes in the arena of one image
  uint32_t first_step, last_step;  // where it is written and last read
  bool outside;   // not in the arena: the prefix's result, which lies in a batch's buffer
};

// The prefix, steps [0, suffix), runs image by image; the rest, a straight line of steps on flat
// values, for all images of a batch at once.
struct Plan {
  Array<Step> steps;
  Array<uint32_t> inputs;  // slots
  Array<Slot> slots;
  uint32_t num_steps = 0, num_slots = 0;
  uint32_t suffix = 0;
  uint32_t handoff = 0;    // the slot that the prefix leaves: the suffix's input, or the logits
  uint32_t num_layers = 0;
  size_t arena_bytes = 0;
  size_t suffix_features = 0;  // the most values that a step of the suffix takes or gives
};

sigdca_status make_plan(const Context &context, const Graph &graph, Plan *plan);

// Places all slots in an arena so that those which live at the same time do not overlap.
sigdca_status place_slots(const Context &context, Plan *plan);

}  // namespace sigdca
