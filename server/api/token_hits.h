/* Features by a token: what POST /api/search-token looks for, and what it finds. */
#ifndef DM_API_TOKEN_HITS_H
#define DM_API_TOKEN_HITS_H

#include "server/api/subject.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct token_hit {
    const struct subject *subject; /* its source */
    uint32_t index;
    float value; /* the logit; for fires the maximum */
    int place;   /* 0 for promotes */
    char *label; /* owned; NULL if none is known */
};

struct token_search {
    struct subject *subjects; /* [n_subjects] the one that was asked for, or all of the catalogue */
    size_t n_subjects;
    bool all;
    const struct subject *subject; /* the one that is searched */
    bool promotes;
    size_t limit;
    int32_t id;
    struct text token;  /* what it says */
    struct text quoted; /* as labels write it */
    struct token_hit *hits;
    size_t n, capacity;
    struct status st;
};

/* In every source that is indexed; sorted. */
int token_hits_stored(struct token_search *s, const struct app *app, struct status *st);

/* What promotes the token in a source that is not indexed. embedding [n]: the token's row as the
 * model reads it, times sqrt(n). Sorted. */
int token_hits_computed(struct token_search *s, const struct app *app, const float *embedding,
                        size_t n, struct status *st);

void token_hits_free(struct token_search *s);

#endif
