/* A fixed pool of threads that share out the numbered parts of one piece of work.
 *
 * Which thread takes which part changes from run to run; what a part computes must not. Kernels cut
 * their work by shape alone, never by the number of threads, so that sums keep their order. */
#ifndef DM_BASE_THREADS_H
#define DM_BASE_THREADS_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>

struct threads;

/* count threads in all, the caller of threads_run among them; 0 means one per processor that this
 * process may use. At most THREADS_MAX. */
#define THREADS_MAX 256
int threads_create(struct threads **out, int count, struct status *st);
int threads_count(const struct threads *pool);

/* Scratch memory of one worker, aligned to 64 bytes: kernels widen a tile of weights here. */
#define THREADS_SCRATCH_BYTES ((size_t)4 << 20)
void *threads_scratch(const struct threads *pool, int worker);

/* Memory that all workers may read and write in the pieces of work of one holder, aligned to 64
 * bytes: kernels round their rows here. Others who want it wait until it is released. */
#define THREADS_SHARED_BYTES ((size_t)32 << 20)
void *threads_hold_shared(struct threads *pool);
void threads_release_shared(struct threads *pool);

/* Calls part(argument, i, worker) once for every i in 0..parts-1 and returns when all are done.
 * worker is in 0..threads_count-1 and no two parts run with the same one at the same time, so it
 * can pick scratch memory. Callers on different threads take turns. Parts must not call
 * threads_run. */
void threads_run(struct threads *pool, size_t parts,
                 void (*part)(void *argument, size_t i, int worker), void *argument);

/* on: ties worker i to the i-th processor that the calling thread may use, this thread (worker 0)
 * too, until it is called with false by the same thread. For measuring alone: two threads that the
 * system puts on one processor for a moment would make a short loop look half as fast. */
void threads_pin(struct threads *pool, bool on);

void threads_destroy(struct threads *pool);

#endif
