// One step of a plan, on one image or on a batch.
#include <string.h>

#include "session/session.h"

namespace sigdca {
namespace {

constexpr size_t kLine = 16;  // floats: threads write no cache line together

size_t pixels_of(const Shape &shape) { return size_t{shape.height} * shape.width; }

// This thread's part of `count` values, channels or pixels.
struct Part {
  size_t begin, end;
  Part(const Team &team, size_t count, size_t unit) { team.part(count, unit, &begin, &end); }
};

}  // namespace

void run_step(const Session &session, const Step &step, const StepPlace &place,
              const Team &team) {
  const Plan &plan = session.plan;
  const Kernels &kernels = *session.kernels;
  const Op &op = session.model->graph.ops[step.op];
  const auto at = [&](uint32_t number) {
    const Slot &slot = plan.slots[number];
    return slot.outside ? place.outside : reinterpret_cast<float *>(place.arena + slot.offset);
  };
  const uint32_t *inputs = &plan.inputs[step.first_input];
  const float *input = at(inputs[0]);
  float *output = at(step.output_slot);
  const Layer *layer = step.layer == kNone ? nullptr : &session.layers[step.layer];
  const Part channels(team, step.output.channels, 1), values(team, step.output.values(), kLine);
  const Part pixels(team, pixels_of(step.output), kLine);
  switch (step.kind) {
    case StepKind::kConv:
      layer->conv->run(layer->prepared, team, input, output, place.scratch);
      break;
    case StepKind::kFc:
      layer->fc->run(layer->prepared, team, input, 1, output, place.scratch);
      break;
    case StepKind::kMaxPool:
      kernels.max_pool(PoolShape{step.input, step.output, op.window, false}, input, output,
                       channels.begin, channels.end);
      break;
    case StepKind::kAvgPool:
      kernels.avg_pool(PoolShape{step.input, step.output, op.window, op.include_pad}, input,
                       output, channels.begin, channels.end);
      break;
    case StepKind::kGlobalAvgPool:
      kernels.global_avg_pool(step.input, input, output, channels.begin, channels.end);
      break;
    case StepKind::kClamp:
      kernels.clamp(input, step.low, step.high, output, values.begin, values.end);
      break;
    case StepKind::kScaleShift:
      kernels.scale_shift(step.input, input, layer->scale.data(), layer->shift.data(), output,
                          channels.begin, channels.end);
      break;
    case StepKind::kLrn:
      kernels.lrn(step.input, op.lrn_size, op.alpha, op.beta, op.k, input, output, pixels.begin,
                  pixels.end);
      break;
    case StepKind::kSoftmax:
      kernels.softmax(step.input, input, output, pixels.begin, pixels.end);
      break;
    case StepKind::kAdd:
      kernels.add(input, at(inputs[1]), output, values.begin, values.end);
      break;
    case StepKind::kConcat: {
      for (uint32_t i = 0; i < step.num_inputs; ++i) {
        const size_t count = plan.slots[inputs[i]].values;
        const Part part(team, count, kLine);
        memcpy(output + part.begin, at(inputs[i]) + part.begin,
               (part.end - part.begin) * sizeof(float));
        output += count;
      }
      break;
    }
  }
}

void run_pixels_step(const Session &session, const Step &step, const uint8_t *pixels, size_t n,
                     float *output, const Team &team) {
  const Layer &layer = session.layers[step.layer];
  layer.fc->run_pixels(layer.prepared, team, pixels, session.input_scale, n, output,
                       const_cast<uint8_t *>(session.scratch.data()));
}

void run_batch_step(const Session &session, const Step &step, const float *input, size_t n,
                    float *output, const Team &team) {
  const Kernels &kernels = *session.kernels;
  if (step.kind == StepKind::kFc) {
    const Layer &layer = session.layers[step.layer];
    void *scratch = const_cast<uint8_t *>(session.scratch.data());
    layer.fc->run(layer.prepared, team, input, n, output, scratch);
  } else if (step.kind == StepKind::kClamp) {
    const Part values(team, n * step.output.values(), kLine);
    kernels.clamp(input, step.low, step.high, output, values.begin, values.end);
  } else {
    const size_t features = step.input.values();
    const Part images(team, n, 1);
    for (size_t i = images.begin; i < images.end; ++i)
      kernels.softmax(step.input, input + i * features, output + i * features, 0, 1);
  }
}

}  // namespace sigdca
