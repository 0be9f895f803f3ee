// A model made ready to run.
#pragma once

#include "container/model.h"
#include "core/counted.h"
#include "core/pool.h"
#include "session/plan.h"

namespace sigdca {

// A conv or fc operator's (or a lone batch norm's) weights, as its kernel wants them.
struct Layer {
  uint32_t op = 0;
  const ConvKernel *conv = nullptr;
  const FcKernel *fc = nullptr;
  PreparedLayer *prepared = nullptr;
  Array<float> scale, shift;  // by output channel; empty: none
  uint64_t num_nonzero = 0;
  double cost_ns = 0;  // of one image
};

struct Session {
  sigdca_allocator caller{};     // what the session itself lies in
  Counted memory;                // all else, which must go before it
  sigdca_allocator allocator{};  // counts there
  const Model *model = nullptr;
  const Kernels *kernels = nullptr;
  sigdca_profile profile = SIGDCA_PROFILE_EXACT;
  uint32_t threads = 1, max_batch = 1;
  float input_scale = 1;
  Plan plan;
  Layer *layers = nullptr;  // plan.num_layers of them
  Array<double> cost_ns;    // of each step for one image on one thread
  uint32_t num_arenas = 1;  // images that run at the same time
  Array<uint8_t> arenas;
  Array<uint8_t> scratch;       // for a team of all threads, or one of one for each arena
  size_t solo_scratch_bytes = 0;
  Array<float> batch[2];    // the suffix's values, [max_batch, suffix_features]
  Pool *pool = nullptr;     // null on one thread
};

// options: see sigdca.h. kernel: for tests; the name of a kernel that layers which can use it must
// take, whatever it costs; or null.
sigdca_status create_session(const Context &context, const Model &model,
                             const sigdca_session_options &options, const char *kernel,
                             Session **session);
void close_session(Session *session);

// Decodes and prepares all layers.
sigdca_status prepare_layers(const Context &context, const CpuFeatures &cpu, const char *kernel,
                             Session *session);

// images: any number. Allocates nothing.
sigdca_status run_session(const Context &context, Session *session, const uint8_t *images,
                          size_t n, float *logits);

// Where a step finds its values.
struct StepPlace {
  uint8_t *arena;
  float *outside;  // of slots that are not in the arena
  void *scratch;
};

// Executes a step of the prefix for one image. Called by every thread of the team.
void run_step(const Session &session, const Step &step, const StepPlace &place, const Team &team);

// Executes the first step, a fully connected one with run_pixels, for n images.
void run_pixels_step(const Session &session, const Step &step, const uint8_t *pixels, size_t n,
                     float *output, const Team &team);

// Executes a step of the suffix for n images.
void run_batch_step(const Session &session, const Step &step, const float *input, size_t n,
                    float *output, const Team &team);

}  // namespace sigdca
