#include "core/team.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "core/float_mode.h"
#include "core/object.h"
#include "core/pool.h"

namespace sigdca {

// Those who wait spin so often before they offer their core to others: a thread that is waited for
// may need it.
constexpr uint32_t kSpinsBeforeYield = 2000;
// A worker without a run sleeps after so long. Waking it costs about as much.
constexpr int64_t kSpinNs = 50000;
constexpr size_t kStackBytes = size_t{1} << 20;

// Each word that threads wait on has a cache line of its own.
struct TeamState {
  uint32_t size = 1;
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) std::atomic<uint32_t> phase{0};
};

struct Worker {
  Pool *pool = nullptr;
  uint32_t rank = 0;
  pthread_t thread{};
};

struct Pool {
  sigdca_allocator allocator{};
  TeamState team;
  TeamFunction function = nullptr;  // null: end
  void *argument = nullptr;
  alignas(64) std::atomic<uint32_t> run{0};  // counts runs; workers sleep on it
  alignas(64) std::atomic<uint32_t> sleeping{0};
  uint32_t started = 0;
  pid_t process = 0;
  Worker workers[kMaxThreads];
};

namespace {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

int64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec;
}

void futex(std::atomic<uint32_t> *word, int operation, uint32_t value) {
  static_assert(sizeof(*word) == sizeof(uint32_t), "a futex is the word itself");
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(word), operation, value, nullptr, nullptr, 0);
}

// Returns when there has been a run since `seen`.
void await_run(Pool *pool, uint32_t seen) {
  int64_t start = 0;
  for (uint32_t spin = 1; pool->run.load(std::memory_order_acquire) == seen; ++spin) {
    relax();
    if (spin % 256 != 0) continue;
    const int64_t now = now_ns();
    if (start == 0) start = now;
    if (now - start < kSpinNs) continue;
    pool->sleeping.fetch_add(1);
    while (pool->run.load() == seen) futex(&pool->run, FUTEX_WAIT_PRIVATE, seen);
    pool->sleeping.fetch_sub(1);
    return;
  }
}

void start_run(Pool *pool, TeamFunction function, void *argument) {
  pool->function = function;
  pool->argument = argument;
  pool->run.fetch_add(1);
  if (pool->sleeping.load() > 0) futex(&pool->run, FUTEX_WAKE_PRIVATE, kMaxThreads);
}

void *work(void *argument) {
  const Worker *worker = static_cast<Worker *>(argument);
  Pool *pool = worker->pool;
  const StandardFloatMode mode;
  Team team;
  team.rank = worker->rank, team.size = pool->team.size, team.state = &pool->team;
  for (uint32_t seen = 0;; ++seen) {
    await_run(pool, seen);
    const TeamFunction function = pool->function;
    if (function == nullptr) return nullptr;
    function(pool->argument, team);
    team.barrier();
  }
}

int start_worker(Worker *worker) {
  pthread_attr_t attributes;
  int code = pthread_attr_init(&attributes);
  if (code != 0) return code;
  pthread_attr_setstacksize(&attributes, kStackBytes);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited: signals are the program's own
  code = pthread_create(&worker->thread, &attributes, work, worker);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return code;
}

}  // namespace

void Team::wait_for_all() const {
  const uint32_t phase = state->phase.load(std::memory_order_relaxed);
  if (state->arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
    state->arrived.store(0, std::memory_order_relaxed);
    state->phase.store(phase + 1, std::memory_order_release);
    return;
  }
  uint32_t spin = 0;
  while (state->phase.load(std::memory_order_acquire) == phase) {
    relax();
    if (++spin >= kSpinsBeforeYield) sched_yield();
  }
}

sigdca_status open_pool(const Context &context, uint32_t threads, Pool **result) {
  Pool *pool = nullptr;
  SIGDCA_TRY(make(context, &pool));
  pool->allocator = context.allocator;
  pool->team.size = threads;
  pool->process = getpid();
  for (uint32_t rank = 1; rank < threads; ++rank) {
    Worker *worker = &pool->workers[rank];
    worker->pool = pool, worker->rank = rank;
    const int code = start_worker(worker);
    if (code != 0) {
      close_pool(pool);
      return context.fail(SIGDCA_OUT_OF_MEMORY, "threads: the system gave %u of %u: %s", rank,
                          threads, strerror(code));
    }
    ++pool->started;
  }
  *result = pool;
  return SIGDCA_OK;
}

void close_pool(Pool *pool) {
  if (pool == nullptr) return;
  if (owns_pool(pool)) {
    start_run(pool, nullptr, nullptr);
    for (uint32_t rank = 1; rank <= pool->started; ++rank)
      pthread_join(pool->workers[rank].thread, nullptr);
  }
  destroy(pool->allocator, pool);
}

bool owns_pool(const Pool *pool) { return pool->process == getpid(); }

void run_on(Pool *pool, TeamFunction function, void *argument) {
  Team team;
  team.size = pool->team.size, team.state = &pool->team;
  if (team.size > 1) start_run(pool, function, argument);
  function(argument, team);
  team.barrier();
}

}  // namespace sigdca
