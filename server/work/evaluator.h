/* Evaluates sources over a corpus: contexts in batches through the queue, as background jobs, all
 * runs of all sources of a batch beside one clean pass (core/lens/dark.h).
 *
 * Sums are kept in the database now and then and when the evaluator is stopped; the next run over
 * the same corpus goes on from there and comes to the same figures as an unbroken one. Sources
 * whose sums do not fit `memory` together take turns, with a reading of the corpus each. */
#ifndef DM_WORK_EVALUATOR_H
#define DM_WORK_EVALUATOR_H

#include "core/engine.h"
#include "server/store/store.h"
#include "server/work/corpus.h"
#include "server/work/queue.h"
#include "server/work/sources.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define EVALUATOR_BATCH 256                  /* tokens */
#define EVALUATOR_ROWS 2048                  /* of a pass, forks among them */
#define EVALUATOR_MEMORY ((uint64_t)1 << 30) /* of sums */

struct evaluator_progress {
    int64_t tokens, total_tokens; /* counted, of this reading; about; 0: unknown */
    double tokens_per_second;     /* of this run; 0: unknown yet */
    double seconds_left;          /* below 0: unknown */
    size_t reading, readings;     /* from 1 */
};

struct evaluator {
    struct engine *engine;
    struct store *store;
    struct sources *sources;
    struct queue *queue;      /* with a worker behind it */
    const char *const *names; /* [n_names] of SAEs, each once */
    size_t n_names;
    size_t batch_tokens;       /* 0: EVALUATOR_BATCH; a longer context is a batch of its own */
    uint64_t memory;           /* 0: EVALUATOR_MEMORY */
    double keep_seconds;       /* between two states in the database; 0: 30 */
    const atomic_bool *cancel; /* stop at the next batch; may be NULL */
    void (*progress)(void *user, const struct evaluator_progress *progress); /* may be NULL */
    void *user;
};

/* name: the corpus's. Sources with a finished evaluation of the same corpus, settings and limit are
 * left as they are. STATUS_CANCELLED when stopped. *corpus: its row. */
int evaluator_run(const struct evaluator *evaluator, const struct corpus_options *options,
                  const char *name, int64_t *corpus, struct status *st);

#endif
