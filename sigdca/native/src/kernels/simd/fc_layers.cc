#include "kernels/simd/fc_layers.h"

#include <string.h>

namespace sigdca::fc {

void describe(const Context &context, const LayerRequest &request, const Weights &weights,
              const Epilogue &epilogue, Layer *layer) {
  layer->allocator = context.allocator;
  layer->epilogue = epilogue;
  layer->rows = weights.rows, layer->cols = weights.cols;
  layer->max_batch = request.max_batch;
  layer->exact = request.profile == SIGDCA_PROFILE_EXACT;
}

sigdca_status copy_codebook(const Context &context, const Weights &weights, Array<float> *copy) {
  const size_t size = weights.codebook.size();
  size_t padded = 64;
  while (padded < size) padded *= 2;
  SIGDCA_TRY(copy->allocate(context, padded));
  memset(copy->data(), 0, copy->bytes());
  if (size != 0) memcpy(copy->data(), weights.codebook.data(), size * sizeof(float));
  return SIGDCA_OK;
}

sigdca_status Values::allocate(const Context &context, const Weights &weights, size_t count,
                               bool as_they_are) {
  num_centroids = static_cast<uint32_t>(weights.codebook.size());
  coding = !weights.shared() || as_they_are ? Coding::kRaw
           : num_centroids <= 256 ? Coding::kCode8
                                    : Coding::kCode16;
  if (coding == Coding::kRaw) return raw.allocate(context, count);
  SIGDCA_TRY(copy_codebook(context, weights, &codebook));
  return coding == Coding::kCode8 ? code8.allocate(context, count)
                                  : code16.allocate(context, count);
}

void Values::set(size_t to, const Weights &weights, size_t from) {
  if (coding == Coding::kCode8)
    code8[to] = static_cast<uint8_t>(weights.codes[from]);
  else if (coding == Coding::kCode16)
    code16[to] = weights.codes[from];
  else
    raw[to] = weights.value(from);
}

}  // namespace sigdca::fc
