// Fully connected, two layouts to choose from at run time.
#include "kernels/simd/fc_layers.h"

namespace sigdca::fc {
namespace {

const ChoiceLayer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const ChoiceLayer *>(layer);
}

}  // namespace

sigdca_status prepare_choice(const Context &context, const LayerRequest &request,
                             const Weights &weights, const Epilogue &epilogue,
                             const Choice &choice, PreparedLayer **layer) {
  ChoiceLayer *made = nullptr;
  SIGDCA_TRY(make(context, &made));
  describe(context, request, weights, epilogue, made);
  made->even_kernel = choice.even, made->skip_kernel = choice.skip;
  sigdca_status status = choice.even->prepare(context, request, weights, epilogue, &made->even);
  if (status == SIGDCA_OK)
    status = choice.skip->prepare(context, request, weights, epilogue, &made->skip);
  if (status != SIGDCA_OK) {
    release_choice(context, reinterpret_cast<PreparedLayer *>(made));
    return status;
  }
  const double most = choice.most_nonzero(request, weights, made->even);
  made->most_nonzero = most < weights.cols ? static_cast<uint32_t>(most) : weights.cols;
  *layer = reinterpret_cast<PreparedLayer *>(made);
  return SIGDCA_OK;
}

void release_choice(const Context &context, PreparedLayer *layer) {
  ChoiceLayer *made = reinterpret_cast<ChoiceLayer *>(layer);
  if (made->even != nullptr) made->even_kernel->release(context, made->even);
  if (made->skip != nullptr) made->skip_kernel->release(context, made->skip);
  destroy(context.allocator, made);
}

size_t choice_bytes(const PreparedLayer *layer) {
  const ChoiceLayer &made = *of(layer);
  return made.even_kernel->weight_bytes(made.even) + made.skip_kernel->weight_bytes(made.skip);
}

size_t choice_scratch(const PreparedLayer *layer, uint32_t team_size) {
  const ChoiceLayer &made = *of(layer);
  return made.even_kernel->scratch_bytes(made.even, team_size) +
         made.skip_kernel->scratch_bytes(made.skip, team_size);
}

}  // namespace sigdca::fc
