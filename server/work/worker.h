/* The inference worker: one thread, one session. Takes everything that waits, up to a budget of
 * tokens, and moves everybody once: prompts, attributions, a slice of a large request, the next
 * step of every text, lens and dark-matter request go through the model as one packed forward pass
 * (or several, where they have more rows than the budget). Features that are to be kept are written
 * in one transaction, and the jobs handed back. Whoever asks meanwhile waits for one such round and
 * not for all of a large request. */
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
