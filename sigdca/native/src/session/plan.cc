#include "session/plan.h"

#include <math.h>

namespace sigdca {
namespace {

StepKind kind_of(OpCode code) {
  switch (code) {
    case OpCode::kConv: return StepKind::kConv;
    case OpCode::kFc: return StepKind::kFc;
    case OpCode::kMaxPool: return StepKind::kMaxPool;
    case OpCode::kAvgPool: return StepKind::kAvgPool;
    case OpCode::kGlobalAvgPool: return StepKind::kGlobalAvgPool;
    case OpCode::kSoftmax: return StepKind::kSoftmax;
    case OpCode::kLrn: return StepKind::kLrn;
    case OpCode::kBatchNorm: return StepKind::kScaleShift;
    case OpCode::kAdd: return StepKind::kAdd;
    case OpCode::kConcat: return StepKind::kConcat;
    case OpCode::kRelu:
    case OpCode::kRelu6:
    case OpCode::kFlatten: break;
  }
  return StepKind::kClamp;
}

bool is_clamp(OpCode code) { return code == OpCode::kRelu || code == OpCode::kRelu6; }

// Makes the steps in the operators' order.
class Planner {
 public:
  Planner(const Context &context, const Graph &graph, Plan *plan)
      : context_(context), graph_(graph), plan_(*plan) {}

  sigdca_status run() {
    SIGDCA_TRY(allocate());
    plan_.slots[0] = Slot{graph_.input.values(), 0, 0, 0, false};
    plan_.num_slots = 1;
    slot_of_[0] = 0;
    for (uint32_t op = 0; op < graph_.ops.size(); ++op)
      if (!done_[op]) add(op);
    const uint32_t output = slot_of_[graph_.ops.size()];
    find_suffix(output);
    plan_.slots[plan_.handoff].outside = true;
    return SIGDCA_OK;
  }

 private:
  sigdca_status allocate() {
    const size_t num_ops = graph_.ops.size(), num_values = num_ops + 1;
    SIGDCA_TRY(plan_.steps.allocate(context_, num_ops));
    SIGDCA_TRY(plan_.inputs.allocate(context_, graph_.inputs.size()));
    SIGDCA_TRY(plan_.slots.allocate(context_, num_values));
    SIGDCA_TRY(slot_of_.allocate(context_, num_values));
    SIGDCA_TRY(uses_.allocate(context_, num_values));
    SIGDCA_TRY(reader_.allocate(context_, num_values));
    SIGDCA_TRY(done_.allocate(context_, num_ops));
    for (uint32_t &uses : uses_) uses = 0;
    for (uint8_t &done : done_) done = 0;
    for (uint32_t op = 0; op < num_ops; ++op)
      for (uint32_t i = 0; i < graph_.ops[op].num_inputs; ++i) {
        const uint32_t value = graph_.inputs_of(graph_.ops[op])[i];
        ++uses_[value];
        reader_[value] = op;
      }
    ++uses_[num_ops];  // the caller takes the last operator's
    return SIGDCA_OK;
  }

  void add(uint32_t number) {
    const Op &op = graph_.ops[number];
    const uint32_t *inputs = graph_.inputs_of(op);
    if (op.code == OpCode::kFlatten) {
      slot_of_[number + 1] = slot_of_[inputs[0]];
      return;
    }
    const uint32_t index = plan_.num_steps++;
    Step &step = plan_.steps[index];
    step = Step{};
    step.kind = kind_of(op.code);
    step.op = number, step.norm = kNone, step.layer = kNone;
    step.input = graph_.shape_of(inputs[0]), step.output = op.output;
    step.low = -INFINITY, step.high = INFINITY;
    if (is_clamp(op.code)) clamp(op.code, &step);
    step.first_input = num_inputs_, step.num_inputs = op.num_inputs;
    for (uint32_t i = 0; i < op.num_inputs; ++i) {
      const uint32_t slot = slot_of_[inputs[i]];
      plan_.inputs[num_inputs_++] = slot;
      plan_.slots[slot].last_step = index;
    }
    const uint32_t value = absorb(number + 1, &step);
    if (step.kind == StepKind::kConv || step.kind == StepKind::kFc ||
        step.kind == StepKind::kScaleShift)
      step.layer = plan_.num_layers++;
    const size_t values = op.output.values();
    step.output_slot = plan_.num_slots++;
    plan_.slots[step.output_slot] = Slot{values, 0, index, index, false};
    slot_of_[value] = step.output_slot;
  }

  // Takes the operators behind `value` into the step as long as they alone read it. Returns the
  // value that the step gives then.
  uint32_t absorb(uint32_t value, Step *step) {
    const bool may_scale = step->kind == StepKind::kConv;
    const bool may_clamp = may_scale || step->kind == StepKind::kFc ||
                           step->kind == StepKind::kClamp;
    while (may_clamp && uses_[value] == 1 && value != graph_.ops.size()) {
      const uint32_t next = reader_[value];
      const OpCode code = graph_.ops[next].code;
      const bool unclamped = step->low == -INFINITY && step->high == INFINITY;
      if (is_clamp(code)) {
        clamp(code, step);
      } else if (code == OpCode::kBatchNorm && may_scale && unclamped && step->norm == kNone) {
        step->norm = next;
      } else if (code != OpCode::kFlatten) {
        break;
      }
      done_[next] = 1;
      value = next + 1;
    }
    return value;
  }

  static void clamp(OpCode code, Step *step) {
    step->low = 0;
    if (code == OpCode::kRelu6 && step->high > 6) step->high = 6;
  }

  // Walks back from the network's output as long as each step is one of those that take a batch,
  // and is all that reads the step before it.
  void find_suffix(uint32_t output) {
    plan_.suffix = plan_.num_steps;
    plan_.handoff = output;
    for (uint32_t index = plan_.num_steps; index-- > 0;) {
      const Step &step = plan_.steps[index];
      const uint32_t input = plan_.inputs[step.first_input];
      const bool takes_batch = step.kind == StepKind::kFc || step.kind == StepKind::kClamp ||
                               step.kind == StepKind::kSoftmax;
      const bool joined = step.output_slot == plan_.handoff &&
                          plan_.slots[input].last_step == index && readers_of(input) == 1;
      if (!takes_batch || !step.input.flat || !joined) break;
      plan_.suffix = index;
      plan_.handoff = input;
      const size_t larger = step.output.values() > step.input.values() ? step.output.values()
                                                                       : step.input.values();
      if (larger > plan_.suffix_features) plan_.suffix_features = larger;
    }
  }

  uint32_t readers_of(uint32_t slot) const {
    uint32_t count = 0;
    for (uint32_t i = 0; i < num_inputs_; ++i) count += plan_.inputs[i] == slot;
    return count;
  }

  const Context &context_;
  const Graph &graph_;
  Plan &plan_;
  uint32_t num_inputs_ = 0;
  Array<uint32_t> slot_of_;  // by value
  Array<uint32_t> uses_, reader_;  // of a value: how often read, and the last operator that does
  Array<uint8_t> done_;      // operators that are part of a step before
};

}  // namespace

sigdca_status make_plan(const Context &context, const Graph &graph, Plan *plan) {
  SIGDCA_TRY(Planner(context, graph, plan).run());
  return place_slots(context, plan);
}

}  // namespace sigdca
