/* Runs sources over a corpus: contexts in batches through the queue, as background jobs, all
 * sources of a context in one forward pass; what the cache holds already is not computed again.
 *
 * A batch's activations are kept by the worker, then the sources' marks move over its documents in
 * one transaction. Whenever the process ends, the next run starts from the marks and comes to the
 * same. Two batches are under way at a time, so that reading, tokenising and marking go on while
 * the model computes. */
#ifndef DM_WORK_INDEXER_H
#define DM_WORK_INDEXER_H

#include "core/engine.h"
#include "server/store/store.h"
#include "server/work/corpus.h"
#include "server/work/queue.h"
#include "server/work/sources.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Tokens of a batch: how long an interactive request may have to wait. */
#define INDEXER_BATCH 512

struct indexer_progress {
    const char *phase;               /* "activations", then "dashboards", then (of a server's job)
                                        "evaluation"; before any "waiting" */
    int64_t waiting_for;             /* the process that indexes into the database; 0: unknown */
    int64_t documents, tokens;       /* of the corpus, behind the marks of all sources */
    int64_t total_tokens;            /* about; 0: unknown */
    double tokens_per_second;        /* of this run; 0: unknown yet */
    double seconds_left;             /* below 0: unknown */
    size_t reading, readings;        /* of the corpus, from 1; more than one: neurons take turns */
    const char *source;              /* dashboards: the one in work ... */
    size_t features, of_features;    /* ... and how far */
    int64_t evaluated, of_evaluated; /* evaluation: tokens */
};

struct indexer {
    struct engine *engine;
    struct store *store;
    struct sources *sources;
    struct queue *queue;      /* with a worker behind it */
    const char *const *names; /* [n_names] of the sources, each once */
    size_t n_names;
    size_t batch_tokens;    /* 0: INDEXER_BATCH; a longer context is a batch of its own */
    uint64_t memory;        /* of dashboards; 0: BUILDER_MEMORY */
    uint64_t neuron_memory; /* of neurons counted together; 0: a quarter of the machine's */
    int64_t seed;
    const atomic_bool *cancel;  /* stop at the next batch; may be NULL */
    const atomic_bool *abandon; /* the same, and leave dashboards; may be NULL */
    void (*progress)(void *user, const struct indexer_progress *progress); /* may be NULL */
    void *user;
};

/* Runs the sources over a corpus, from their marks on. name: the corpus's. Layers of neurons that
 * do not fit neuron_memory together take turns, with a reading of the corpus each; STATUS_INVALID
 * if that is the standard input. STATUS_CANCELLED when stopped; everything up to the last batch is
 * kept then. *figures are filled either way. */
int indexer_read(const struct indexer *ix, const struct corpus_options *options, const char *name,
                 struct corpus_figures *figures, struct status *st);

/* Makes the dashboards of the sources anew, from everything they were ever run over. */
int indexer_dashboards(const struct indexer *ix, struct status *st);

#endif
