/* Evaluations: what a source leaves unexplained of a corpus, as a report and, until it is finished,
 * as the state that it goes on from. */
#ifndef DM_STORE_EVALUATIONS_H
#define DM_STORE_EVALUATIONS_H

#include "core/base/status.h"
#include "server/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_evaluation {
    int64_t source, corpus;
    int64_t contexts, tokens;
    int64_t token_limit; /* 0: none */
    bool finished;
    const char *report; /* JSON */
    const void *state;  /* [state_bytes]; NULL: none */
    size_t state_bytes;
    const char *made_at; /* when reading */
};

/* In place of the one that the source and the corpus have. */
int store_evaluation_write(struct store *store, const struct store_evaluation *evaluation,
                           struct status *st);

/* Visits the evaluation of a source over a corpus, if there is one, with its state. What is not 0
 * from visit is the result, and st is visit's to fill. */
int store_evaluation(struct store *store, int64_t source, int64_t corpus,
                     int (*visit)(void *user, const struct store_evaluation *evaluation),
                     void *user, struct status *st);

/* All of a source, without their states, the newest first. */
int store_evaluations(struct store *store, int64_t source,
                      int (*visit)(void *user, const struct store_evaluation *evaluation),
                      void *user, struct status *st);

#endif
