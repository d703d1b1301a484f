/* The inference worker: one thread, one session. Takes everything that waits, up to a budget of
 * tokens, runs it as one packed forward pass, writes the features that are to be kept in one
 * transaction, and hands the jobs back. Whoever asks meanwhile waits for one pass and not for all
 * of a large request: its passes, and the tokens of texts that are continued, take turns with the
 * others'. */
#ifndef DM_WORK_WORKER_H
#define DM_WORK_WORKER_H

#include "server/store/store.h"
#include "server/work/queue.h"
#include "server/work/sources.h"

struct worker;

int worker_start(struct worker **worker, struct engine *engine, struct store *store,
                 struct sources *sources, struct queue *queue, size_t budget_tokens,
                 struct status *st);

/* Waits until the queue (stopped before) is drained, then ends the thread; texts that are still
 * being continued are broken off. NULL is fine. */
void worker_join(struct worker *worker);

#endif
