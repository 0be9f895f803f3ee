// A run: images in batches, through the prefix one by one and through the suffix together.
#include <string.h>

#include <atomic>

#include "core/float_mode.h"
#include "session/session.h"

namespace sigdca {
namespace {

// Work that is shorter is not given to other threads: to meet takes them a microsecond, to wake up
// fifty, and half of a short step is little to gain.
constexpr double kWorthSharingNs = 20000;

// Up to max_batch images.
struct Batch {
  const Session *session;
  const uint8_t *images;
  size_t n;
  float *logits;
  bool by_image;  // each thread takes whole images; else all work on one together
  std::atomic<size_t> next{0};
};

// A thread's way through steps that some are worth sharing and some are not: those are the first
// thread's, and the others wait for it before the next that they share.
class Sharing {
 public:
  explicit Sharing(const Team &team) : team_(team) {}

  template <class Function>
  void run(double cost_ns, Function function) {
    if (team_.size > 1 && cost_ns >= kWorthSharingNs) {
      meet();
      function(team_);
      team_.barrier();
    } else {
      if (team_.rank == 0) function(Team());
      apart_ = true;
    }
  }

  // After this, all have what the first thread made.
  void meet() {
    if (apart_) team_.barrier();
    apart_ = false;
  }

 private:
  const Team &team_;
  bool apart_ = false;
};

double input_cost_ns(const Session &session) {
  return 0.1 * static_cast<double>(session.model->graph.input.values());
}

// One image through the prefix; `result` takes what it leaves.
void run_prefix(const Session &session, const uint8_t *image, float *result, uint32_t arena,
                Sharing *sharing) {
  const Plan &plan = session.plan;
  StepPlace place{};
  place.arena = const_cast<uint8_t *>(session.arenas.data()) + arena * plan.arena_bytes;
  place.scratch =
      const_cast<uint8_t *>(session.scratch.data()) + arena * session.solo_scratch_bytes;
  place.outside = result;
  const Slot &first = plan.slots[0];
  float *values = first.outside ? result : reinterpret_cast<float *>(place.arena + first.offset);
  sharing->run(input_cost_ns(session), [&](const Team &team) {
    size_t begin = 0, end = 0;
    team.part(first.values, 64, &begin, &end);
    session.kernels->from_pixels(image, session.input_scale, values, begin, end);
  });
  for (uint32_t index = 0; index < plan.suffix; ++index)
    sharing->run(session.cost_ns[index], [&](const Team &team) {
      run_step(session, plan.steps[index], place, team);
    });
}

// Whether the first step takes the pixels as they are.
bool takes_pixels(const Session &session) {
  const Plan &plan = session.plan;
  if (plan.suffix != 0 || plan.num_steps == 0 || plan.steps[0].kind != StepKind::kFc) return false;
  return session.layers[plan.steps[0].layer].fc->run_pixels != nullptr;
}

// From batch[0], or from the pixels, to the logits, between two buffers.
void run_suffix(const Session &session, const Batch &batch, Sharing *sharing) {
  const Plan &plan = session.plan;
  const float *input = session.batch[0].data();
  for (uint32_t index = plan.suffix; index < plan.num_steps; ++index) {
    const Step &step = plan.steps[index];
    const bool last = index + 1 == plan.num_steps;
    float *other = const_cast<float *>(session.batch[(index - plan.suffix + 1) % 2].data());
    float *output = last ? batch.logits : other;
    sharing->run(session.cost_ns[index] * static_cast<double>(batch.n), [&](const Team &team) {
      if (index == 0 && takes_pixels(session))
        run_pixels_step(session, step, batch.images, batch.n, output, team);
      else
        run_batch_step(session, step, input, batch.n, output, team);
    });
    input = output;
  }
}

void run_batch(void *argument, const Team &team) {
  Batch &batch = *static_cast<Batch *>(argument);
  const Session &session = *batch.session;
  const Plan &plan = session.plan;
  const size_t pixels = plan.slots[0].values, values = plan.slots[plan.handoff].values;
  float *results = plan.suffix == plan.num_steps
                       ? batch.logits
                       : const_cast<float *>(session.batch[0].data());
  Sharing sharing(team);
  if (takes_pixels(session)) return run_suffix(session, batch, &sharing);
  if (batch.by_image) {
    const Team alone;
    Sharing none(alone);
    for (size_t i; (i = batch.next.fetch_add(1, std::memory_order_relaxed)) < batch.n;)
      run_prefix(session, batch.images + i * pixels, results + i * values, team.rank, &none);
    team.barrier();
  } else {
    for (size_t i = 0; i < batch.n; ++i)
      run_prefix(session, batch.images + i * pixels, results + i * values, 0, &sharing);
  }
  if (plan.suffix < plan.num_steps) run_suffix(session, batch, &sharing);
}

// Whether any of it is worth waking the other threads. Says also how.
bool worth_sharing(const Session &session, Batch *batch) {
  const double n = static_cast<double>(batch->n);
  double prefix_ns = input_cost_ns(session), longest_ns = prefix_ns;
  for (uint32_t index = 0; index < session.plan.num_steps; ++index) {
    const bool in_suffix = index >= session.plan.suffix;
    const double ns = session.cost_ns[index] * (in_suffix ? n : 1);
    if (!in_suffix) prefix_ns += ns;
    if (ns > longest_ns) longest_ns = ns;
  }
  batch->by_image = session.num_arenas > 1 && !takes_pixels(session) && batch->n >= session.threads &&
                    prefix_ns * n >= 2 * kWorthSharingNs;
  return batch->by_image || longest_ns >= kWorthSharingNs;
}

// By bits, so that no compiler flag makes it vanish.
size_t first_not_finite(const float *values, size_t count) {
  uint32_t any = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof(bits));
    any |= (bits & 0x7f800000) == 0x7f800000;
  }
  if (any == 0) return count;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof(bits));
    if ((bits & 0x7f800000) == 0x7f800000) return i;
  }
  return count;
}

}  // namespace

sigdca_status run_session(const Context &context, Session *session, const uint8_t *images,
                          size_t n, float *logits) {
  const StandardFloatMode mode;
  const Graph &graph = session->model->graph;
  const size_t pixels = graph.input.values();
  const size_t classes = graph.shape_of(static_cast<uint32_t>(graph.ops.size())).values();
  for (size_t at = 0; at < n; at += session->max_batch) {
    Batch batch;
    batch.session = session;
    batch.images = images + at * pixels;
    batch.n = n - at < session->max_batch ? n - at : session->max_batch;
    batch.logits = logits + at * classes;
    batch.by_image = false;
    if (session->pool == nullptr || !worth_sharing(*session, &batch)) {
      run_batch(&batch, Team());
    } else if (owns_pool(session->pool)) {
      run_on(session->pool, run_batch, &batch);
    } else {
      return context.fail(SIGDCA_UNSUPPORTED,
                          "session: made before fork(), by a process whose threads are not here");
    }
  }
  const size_t wrong = first_not_finite(logits, n * classes);
  if (wrong == n * classes) return SIGDCA_OK;
  return context.fail(SIGDCA_NOT_FINITE, "logits of image %zu are not finite", wrong / classes);
}

}  // namespace sigdca
