// The threads behind a Team. They belong to one session, wait for its runs, and allocate nothing.
// They do not survive fork(): a child can only close the session, and make its own.
#pragma once

#include "core/team.h"

namespace sigdca {

constexpr uint32_t kMaxThreads = 64;

struct Pool;

// What a run executes on every thread.
using TeamFunction = void (*)(void *argument, const Team &team);

// Starts threads - 1 threads with all signals blocked; the caller of `run_on` is the missing one.
sigdca_status open_pool(const Context &context, uint32_t threads, Pool **pool);
// Ends and joins them. Null is allowed.
void close_pool(Pool *pool);

// Whether this is the process that opened it: a child of fork() has none of the threads.
bool owns_pool(const Pool *pool);

// Executes `function` on all threads of the pool and returns when all have done so. The caller has
// rank 0. One run at a time.
void run_on(Pool *pool, TeamFunction function, void *argument);

}  // namespace sigdca
