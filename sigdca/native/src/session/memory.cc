// Where the values of one image lie in its arena.
#include "session/plan.h"

namespace sigdca {
namespace {

size_t bytes_of(const Slot &slot) { return (slot.values * sizeof(float) + 63) / 64 * 64; }

// The first place behind or between the slots that are still read; `live` is sorted by offset.
void place(const Array<Slot> &slots, uint32_t number, uint32_t *live, uint32_t *num_live,
           Slot *slot) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < *num_live; ++i)
    if (slots[live[i]].last_step >= slot->first_step) live[kept++] = live[i];
  size_t offset = 0;
  uint32_t at = 0;
  while (at < kept && offset + bytes_of(*slot) > slots[live[at]].offset) {
    offset = slots[live[at]].offset + bytes_of(slots[live[at]]);
    ++at;
  }
  for (uint32_t i = kept; i > at; --i) live[i] = live[i - 1];
  live[at] = number;
  slot->offset = offset;
  *num_live = kept + 1;
}

// A step that changes values one by one may write over an input that nobody reads after it.
bool in_place(const Plan &plan, uint32_t index, Slot *output) {
  const Step &step = plan.steps[index];
  if (step.kind != StepKind::kClamp && step.kind != StepKind::kScaleShift &&
      step.kind != StepKind::kAdd)
    return false;
  for (uint32_t i = 0; i < step.num_inputs; ++i) {
    const Slot &input = plan.slots[plan.inputs[step.first_input + i]];
    if (input.outside || input.last_step != index) continue;
    output->offset = input.offset;
    return true;
  }
  return false;
}

}  // namespace

sigdca_status place_slots(const Context &context, Plan *plan) {
  Array<uint32_t> live;
  SIGDCA_TRY(live.allocate(context, plan->num_slots));
  uint32_t num_live = 0;
  for (uint32_t number = 0; number < plan->num_slots; ++number) {
    Slot &slot = plan->slots[number];
    // The suffix's values lie in the batch's buffers. Slot n + 1 is what step n gives.
    if (slot.outside || (number > 0 && number - 1 >= plan->suffix)) continue;
    if (number > 0 && in_place(*plan, number - 1, &slot)) {
      // It takes over its input's place among the living.
      for (uint32_t i = 0; i < num_live; ++i)
        if (plan->slots[live[i]].offset == slot.offset &&
            plan->slots[live[i]].last_step == slot.first_step)
          live[i] = number;
    } else {
      place(plan->slots, number, live.data(), &num_live, &slot);
    }
    const size_t end = slot.offset + bytes_of(slot);
    if (end > plan->arena_bytes) plan->arena_bytes = end;
  }
  return SIGDCA_OK;
}

}  // namespace sigdca
