// What an instruction set brings: one table of functions each. Everything here is one image's
// float32 [channels, height, width], except fc, which takes a batch.
//
// Rounding. In the exact profile each output value is  sum = 0; for its weights that are not zero,
// in ascending order of their place: sum = sum + weight * input;  then sum * scale (if there is a
// scale) + shift, clamped. Each operation rounds once. Lanes of a vector are different outputs,
// never parts of one sum, so every width gives the same bits. Padding and zero weights may be
// summed or skipped: 0 changes no sum, because no value in a network is ever -0.
#pragma once

#include "container/model.h"
#include "core/team.h"

namespace sigdca {

struct CpuFeatures {
  bool sse42, avx2_fma, avx512, avx512_vnni, avx512_vbmi, amx, neon;  // avx512: F, BW, DQ, VL
  bool amd;  // to Zen 4 at least, a gather takes several cycles a lane
};

struct ConvShape {
  Shape input, output;
  Window window;
  uint32_t groups;
};

// What is done to a sum: per output channel * scale (null: none) + shift (null: none), then clamped.
struct Epilogue {
  const float *scale;
  const float *shift;
  float low, high;  // -inf, inf where there is no ReLU
};

struct LayerRequest {
  sigdca_profile profile;
  CpuFeatures cpu;
  uint32_t max_batch;
  uint32_t threads;
};

// A prepared layer: made by an implementation, freed by it.
struct PreparedLayer;

// One way to compute a convolution.
struct ConvKernel {
  const char *name;
  // An estimate in nanoseconds for one image on one thread; a negative number: cannot do it.
  double (*cost_ns)(const LayerRequest &request, const ConvShape &shape, const Weights &weights);
  sigdca_status (*prepare)(const Context &context, const LayerRequest &request,
                           const ConvShape &shape, const Weights &weights,
                           const Epilogue &epilogue, PreparedLayer **layer);
  void (*release)(const Context &context, PreparedLayer *layer);
  size_t (*weight_bytes)(const PreparedLayer *layer);
  // Of scratch memory that a team needs in `run`, shared by its threads; 64-byte aligned.
  size_t (*scratch_bytes)(const PreparedLayer *layer, uint32_t team_size);
  // Called by every thread of the team. `input` is complete when it is called; the caller places a
  // barrier behind it. The epilogue's arrays live as long as the layer.
  void (*run)(const PreparedLayer *layer, const Team &team, const float *input, float *output,
              void *scratch);
};

// One way to compute a fully connected layer, for n images: [n, cols] to [n, rows].
struct FcKernel {
  const char *name;
  // For one call with a batch of request.max_batch.
  double (*cost_ns)(const LayerRequest &request, const Weights &weights);
  sigdca_status (*prepare)(const Context &context, const LayerRequest &request,
                           const Weights &weights, const Epilogue &epilogue,
                           PreparedLayer **layer);
  void (*release)(const Context &context, PreparedLayer *layer);
  size_t (*weight_bytes)(const PreparedLayer *layer);
  size_t (*scratch_bytes)(const PreparedLayer *layer, uint32_t team_size);
  // n is at most request.max_batch.
  void (*run)(const PreparedLayer *layer, const Team &team, const float *input, size_t n,
              float *output, void *scratch);
  // The same for inputs that are pixels * scale; null: they must be made floats before.
  void (*run_pixels)(const PreparedLayer *layer, const Team &team, const uint8_t *pixels,
                     float scale, size_t n, float *output, void *scratch) = nullptr;
};

struct PoolShape {
  Shape input, output;
  Window window;  // dilation is 1
  bool include_pad;
};

// Operators without weights. Each is called by every thread of a team with its part [begin, end)
// of the channels (or of the values, where it says so).
struct Kernels {
  const char *isa;
  const ConvKernel *const *conv;  // ended by null
  const FcKernel *const *fc;      // ended by null
  void (*from_pixels)(const uint8_t *pixels, float scale, float *values, size_t begin, size_t end);
  void (*max_pool)(const PoolShape &shape, const float *input, float *output, size_t begin,
                   size_t end);
  void (*avg_pool)(const PoolShape &shape, const float *input, float *output, size_t begin,
                   size_t end);
  void (*global_avg_pool)(const Shape &shape, const float *input, float *output, size_t begin,
                          size_t end);
  void (*clamp)(const float *input, float low, float high, float *output, size_t begin,
                size_t end);  // values
  void (*add)(const float *left, const float *right, float *output, size_t begin,
              size_t end);  // values
  // value * scale[channel] + shift[channel]
  void (*scale_shift)(const Shape &shape, const float *input, const float *scale,
                      const float *shift, float *output, size_t begin, size_t end);
  // input / (k + alpha / size * sum of squares of `size` channels around)^beta; begin and end count
  // pixels (places of one channel).
  void (*lrn)(const Shape &shape, uint32_t size, double alpha, double beta, double k,
              const float *input, float *output, size_t begin, size_t end);
  // Over the channels; begin and end count pixels.
  void (*softmax)(const Shape &shape, const float *input, float *output, size_t begin,
                  size_t end);
};

// The plain ones: the oracle of all others, and the way out where an instruction set has none.
extern const Kernels kReferenceKernels;
// Of each instruction set; null where this build lacks it.
const Kernels *sse42_kernels();
const Kernels *avx2_kernels();
const Kernels *avx512_kernels();  // with VNNI where `cpu` has it
const Kernels *amx_kernels();
const Kernels *neon_kernels();

}  // namespace sigdca
