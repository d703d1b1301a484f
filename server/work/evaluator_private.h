/* What the files of the evaluator share: one reading of a corpus. */
#ifndef DM_WORK_EVALUATOR_PRIVATE_H
#define DM_WORK_EVALUATOR_PRIVATE_H

#include "server/work/evaluator.h"

#include <pthread.h>

/* A source of the reading. */
struct subject {
    const struct sae_source *source;
    int64_t row;
    struct evaluation *evaluation;
    int64_t mark; /* contexts that are in it */
    bool active;  /* false: finished before */
};

/* Contexts that go through the model together. */
struct batch {
    int32_t *ids; /* [tokens] */
    bool *kept;   /* [tokens] */
    size_t *first;
    int64_t *number, *line; /* [n] */
    size_t n, tokens;
    size_t capacity, token_capacity;
    int64_t counted;
};

struct reading {
    const struct evaluator *ev;
    const char *name;
    const char *settings;
    int64_t corpus, token_limit;
    struct subject *subjects; /* [n] */
    size_t n;
    struct batch batch;
    struct evaluator_progress progress;
    int64_t tokens_before; /* that were counted by earlier runs */
    double started, kept_at, kept_for;
    /* The job under way: */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

/* evaluator_batch.c: contexts become batches, batches jobs. */
bool evaluator_batch_full(const struct reading *r, const struct corpus_context *next);
int evaluator_batch_add(struct reading *r, const struct corpus_context *context, int64_t number,
                        struct status *st);
/* Runs the batch to its end and moves the marks over it. A batch that fails leaves sums that are
 * not to be kept. */
int evaluator_batch_run(struct reading *r, struct status *st);
void evaluator_batch_free(struct batch *batch);

/* evaluator_keep.c: where a source goes on, and what is kept of it. */
int evaluator_open_subject(const struct reading *r, struct subject *s, struct status *st);
int evaluator_keep(struct reading *r, bool finished, struct status *st);
/* Now and then: wide states take a while, and keeping them is not to take more than a part of the
 * time. */
bool evaluator_time_to_keep(const struct reading *r);

#endif
