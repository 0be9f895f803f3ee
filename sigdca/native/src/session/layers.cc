// Weights from the container into the layout of the kernel that computes each layer.
#include <math.h>
#include <string.h>

#include "session/session.h"

namespace sigdca {
namespace {

// What is done to a layer's sums, per output channel, computed in double on every machine. A zero
// is added to each value so that none is -0 (see kernels.h).
class EpilogueReader {
 public:
  EpilogueReader(const Context &context, const Model &model) : context_(context), model_(model) {}

  // op: conv, fc or batch norm; norm: the batch norm behind it, or kNone.
  sigdca_status read(const Op &op, uint32_t norm, Layer *layer) {
    const bool is_norm = op.code == OpCode::kBatchNorm;
    Array<float> bias;
    if (!is_norm && op.has_bias)
      SIGDCA_TRY(read_vector(context_, model_, tensor(op, 1), &bias));
    if (!is_norm && norm == kNone) {
      layer->shift.swap(bias);
      return SIGDCA_OK;
    }
    return fold(is_norm ? op : model_.graph.ops[norm], bias, layer);
  }

 private:
  static uint32_t tensor(const Op &op, uint32_t part) {
    return static_cast<uint32_t>(op.first_tensor) + part;
  }

  sigdca_status fold(const Op &norm, const Array<float> &bias, Layer *layer) {
    Array<float> weight, shift, mean, variance;
    SIGDCA_TRY(read_vector(context_, model_, tensor(norm, 0), &weight));
    SIGDCA_TRY(read_vector(context_, model_, tensor(norm, 1), &shift));
    SIGDCA_TRY(read_vector(context_, model_, tensor(norm, 2), &mean));
    SIGDCA_TRY(read_vector(context_, model_, tensor(norm, 3), &variance));
    SIGDCA_TRY(layer->scale.allocate(context_, weight.size()));
    SIGDCA_TRY(layer->shift.allocate(context_, weight.size()));
    for (size_t i = 0; i < weight.size(); ++i) {
      const double scale = double{weight[i]} / sqrt(double{variance[i]} + norm.eps);
      const double sum = bias.size() == 0 ? 0.0 : double{bias[i]};
      layer->scale[i] = static_cast<float>(scale) + 0.0f;
      layer->shift[i] = static_cast<float>(double{shift[i]} + (sum - double{mean[i]}) * scale) +
                        0.0f;
    }
    return SIGDCA_OK;
  }

  const Context &context_;
  const Model &model_;
};

// The wanted one, else the cheapest of the instruction set's and of the plain ones.
template <class Kernel, class Cost>
const Kernel *cheapest(const Kernel *const *own, const Kernel *const *plain, const char *wanted,
                       Cost cost, double *cost_ns) {
  const Kernel *best = nullptr;
  const Kernel *const *const lists[] = {own, plain};
  for (const Kernel *const *list : lists) {
    for (; *list != nullptr; ++list) {
      const double ns = cost(**list);
      const bool forced = wanted != nullptr && strcmp((*list)->name, wanted) == 0;
      if (!(ns >= 0) || (best != nullptr && !(ns < *cost_ns) && !forced)) continue;
      best = *list;
      *cost_ns = ns;
      if (forced) return best;
    }
    if (best != nullptr && wanted == nullptr) break;  // the plain ones are the way out only
  }
  return best;
}

class LayerMaker {
 public:
  LayerMaker(const Context &context, const CpuFeatures &cpu, const char *kernel, Session *session)
      : context_(context), kernel_(kernel), session_(*session), cpu_(cpu) {}

  sigdca_status make(uint32_t index, const Step &step, Layer *layer) {
    const Model &model = *session_.model;
    const Op &op = model.graph.ops[step.op];
    layer->op = step.op;
    SIGDCA_TRY(EpilogueReader(context_, model).read(op, step.norm, layer));
    if (step.kind == StepKind::kScaleShift) return SIGDCA_OK;
    Weights weights;
    SIGDCA_TRY(read_weights(context_, model, static_cast<uint32_t>(op.first_tensor), &weights));
    layer->num_nonzero = weights.num_nonzero();
    Epilogue epilogue{};
    epilogue.scale = layer->scale.size() == 0 ? nullptr : layer->scale.data();
    epilogue.shift = layer->shift.size() == 0 ? nullptr : layer->shift.data();
    epilogue.low = step.low, epilogue.high = step.high;
    LayerRequest request{};
    request.profile = session_.profile, request.cpu = cpu_, request.threads = session_.threads;
    request.max_batch = index >= session_.plan.suffix ? session_.max_batch : 1;
    if (step.kind == StepKind::kConv) return conv(request, step, op, weights, epilogue, layer);
    return fc(request, op, weights, epilogue, layer);
  }

 private:
  sigdca_status conv(const LayerRequest &request, const Step &step, const Op &op,
                     const Weights &weights, const Epilogue &epilogue, Layer *layer) {
    const ConvShape shape{step.input, step.output, op.window, op.groups};
    layer->conv = cheapest(
        session_.kernels->conv, kReferenceKernels.conv, kernel_,
        [&](const ConvKernel &kernel) { return kernel.cost_ns(request, shape, weights); },
        &layer->cost_ns);
    if (layer->conv == nullptr) return none(op);
    return layer->conv->prepare(context_, request, shape, weights, epilogue, &layer->prepared);
  }

  sigdca_status fc(const LayerRequest &request, const Op &op, const Weights &weights,
                   const Epilogue &epilogue, Layer *layer) {
    layer->fc = cheapest(
        session_.kernels->fc, kReferenceKernels.fc, kernel_,
        [&](const FcKernel &kernel) { return kernel.cost_ns(request, weights); },
        &layer->cost_ns);
    if (layer->fc == nullptr) return none(op);
    layer->cost_ns /= request.max_batch;
    return layer->fc->prepare(context_, request, weights, epilogue, &layer->prepared);
  }

  sigdca_status none(const Op &op) const {
    return context_.fail(SIGDCA_UNSUPPORTED, "layer '%.100s': no kernel can compute it",
                         session_.model->graph.name_of(op));
  }

  const Context &context_;
  const char *kernel_;
  Session &session_;
  const CpuFeatures &cpu_;
};

// Roughly; it decides only whether to wake other threads.
double plain_cost_ns(const Step &step, const Graph &graph) {
  const double values = static_cast<double>(step.output.values());
  const Op &op = graph.ops[step.op];
  switch (step.kind) {
    case StepKind::kMaxPool:
    case StepKind::kAvgPool:
      return 0.1 * values * op.window.kernel[0] * op.window.kernel[1];
    case StepKind::kGlobalAvgPool: return 0.3 * static_cast<double>(step.input.values());
    case StepKind::kLrn: return values * (1 + 0.1 * op.lrn_size);
    case StepKind::kSoftmax: return 10 * values;
    default: return 0.1 * values;
  }
}

}  // namespace

sigdca_status prepare_layers(const Context &context, const CpuFeatures &cpu, const char *kernel,
                             Session *session) {
  const Plan &plan = session->plan;
  SIGDCA_TRY(session->cost_ns.allocate(context, plan.num_steps));
  LayerMaker maker(context, cpu, kernel, session);
  for (uint32_t index = 0; index < plan.num_steps; ++index) {
    const Step &step = plan.steps[index];
    session->cost_ns[index] = plain_cost_ns(step, session->model->graph);
    if (step.layer == kNone) continue;
    Layer *layer = &session->layers[step.layer];
    SIGDCA_TRY(maker.make(index, step, layer));
    if (layer->prepared != nullptr) session->cost_ns[index] = layer->cost_ns;
  }
  return SIGDCA_OK;
}

}  // namespace sigdca
