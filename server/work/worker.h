/* The inference worker: one thread, one session. Takes everything that waits, up to a budget of
 * tokens, runs it as one packed forward pass, writes the features that are to be kept in one
 * transaction, and hands the jobs back. Texts are continued a token at a time, several in turn, so
 * that whoever asks meanwhile waits for one token and not for a text. */
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
