#include <string.h>

#include "core/cpu.h"
#include "core/object.h"
#include "session/isa.h"
#include "session/session.h"

namespace sigdca {
namespace {

constexpr uint32_t kMaxBatch = 256;

sigdca_status check(const Context &context, const sigdca_session_options &options) {
  if (options.threads > kMaxThreads)
    return context.fail(SIGDCA_INVALID_ARGUMENT, "session: threads must be in 1..%u, got %u",
                        kMaxThreads, options.threads);
  if (options.max_batch > kMaxBatch)
    return context.fail(SIGDCA_INVALID_ARGUMENT, "session: max_batch must be in 1..%u, got %u",
                        kMaxBatch, options.max_batch);
  int profile = 0;  // a caller in C may give any number
  static_assert(sizeof(profile) == sizeof(options.profile), "an enum is an int");
  memcpy(&profile, &options.profile, sizeof(profile));
  if (profile < SIGDCA_PROFILE_EXACT || profile > SIGDCA_PROFILE_INT8)
    return context.fail(SIGDCA_INVALID_ARGUMENT, "session: profile must be in 0..2, got %d",
                        profile);
  return SIGDCA_OK;
}

size_t align(size_t bytes) { return (bytes + 63) / 64 * 64; }

// The most scratch memory that a layer of the plan needs in a team of this size.
size_t most_scratch(const Session &session, uint32_t team_size) {
  size_t most = 0;
  for (uint32_t i = 0; i < session.plan.num_layers; ++i) {
    const Layer &layer = session.layers[i];
    size_t bytes = 0;
    if (layer.conv != nullptr) bytes = layer.conv->scratch_bytes(layer.prepared, team_size);
    if (layer.fc != nullptr) bytes = layer.fc->scratch_bytes(layer.prepared, team_size);
    if (bytes > most) most = bytes;
  }
  return align(most);
}

sigdca_status allocate_run_memory(const Context &context, Session *session) {
  const Plan &plan = session->plan;
  const uint32_t threads = session->threads, batch = session->max_batch;
  session->num_arenas = threads > 1 && batch >= threads && plan.suffix > 0 ? threads : 1;
  SIGDCA_TRY(session->arenas.allocate(context, plan.arena_bytes * session->num_arenas));
  session->solo_scratch_bytes = most_scratch(*session, 1);
  size_t scratch = session->solo_scratch_bytes * session->num_arenas;
  const size_t together = most_scratch(*session, threads);
  if (together > scratch) scratch = together;
  SIGDCA_TRY(session->scratch.allocate(context, scratch));
  if (plan.suffix == plan.num_steps) return SIGDCA_OK;
  for (Array<float> &values : session->batch)
    SIGDCA_TRY(values.allocate(context, plan.suffix_features * batch));
  return SIGDCA_OK;
}

sigdca_status fill(const Context &context, const sigdca_session_options &options,
                   const char *kernel, Session *session) {
  const CpuFeatures cpu = detect_cpu();
  session->profile = options.profile;
  session->threads = options.threads == 0 ? 1 : options.threads;
  session->max_batch = options.max_batch == 0 ? 1 : options.max_batch;
  session->input_scale = static_cast<float>(session->model->graph.input_scale);
  SIGDCA_TRY(
      choose_kernels(context, cpu, options.isa, options.profile, &session->kernels));
  SIGDCA_TRY(make_plan(context, session->model->graph, &session->plan));
  const size_t bytes = session->plan.num_layers * sizeof(Layer);
  if (bytes > 0) {
    const sigdca_allocator &allocator = context.allocator;
    void *memory = allocator.allocate(allocator.context, bytes, 64);
    if (memory == nullptr)
      return context.fail(SIGDCA_OUT_OF_MEMORY, "memory: no %zu bytes left", bytes);
    session->layers = static_cast<Layer *>(memory);
    for (uint32_t i = 0; i < session->plan.num_layers; ++i) new (&session->layers[i]) Layer();
  }
  SIGDCA_TRY(prepare_layers(context, cpu, kernel, session));
  SIGDCA_TRY(allocate_run_memory(context, session));
  if (session->threads == 1) return SIGDCA_OK;
  return open_pool(context, session->threads, &session->pool);
}

}  // namespace

sigdca_status create_session(const Context &context, const Model &model,
                             const sigdca_session_options &options, const char *kernel,
                             Session **result) {
  SIGDCA_TRY(check(context, options));
  Session *session = nullptr;
  SIGDCA_TRY(make(context, &session));
  session->caller = context.allocator;
  session->memory.start(context.allocator);
  session->allocator = session->memory.allocator();
  session->model = &model;
  const sigdca_status status =
      fill(Context{session->allocator, context.error}, options, kernel, session);
  if (status != SIGDCA_OK) {
    close_session(session);
    return status;
  }
  *result = session;
  return SIGDCA_OK;
}

void close_session(Session *session) {
  if (session == nullptr) return;
  const sigdca_allocator allocator = session->allocator;
  const Context context{allocator, nullptr};
  close_pool(session->pool);
  for (uint32_t i = 0; session->layers != nullptr && i < session->plan.num_layers; ++i) {
    Layer &layer = session->layers[i];
    if (layer.prepared != nullptr && layer.conv != nullptr)
      layer.conv->release(context, layer.prepared);
    if (layer.prepared != nullptr && layer.fc != nullptr)
      layer.fc->release(context, layer.prepared);
    layer.~Layer();
  }
  if (session->layers != nullptr)
    allocator.release(allocator.context, session->layers,
                      session->plan.num_layers * sizeof(Layer));
  destroy(session->caller, session);
}

}  // namespace sigdca
