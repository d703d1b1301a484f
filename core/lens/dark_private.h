/* What dark.c (the passes) and dark_measure.c (what is made of their rows) share. */
#ifndef DM_LENS_DARK_PRIVATE_H
#define DM_LENS_DARK_PRIVATE_H

#include "core/lens/dark.h"

/* A run of one source over all prompts. */
struct dark_fork {
    size_t source;
    enum dark_run run;
};

/* One packed pass: clean sequences, and behind them the forks that an SAE's site sends elsewhere.
 */
struct dark_pass {
    struct dark *d;
    const struct weights *weights;
    struct threads *threads;
    const struct dark_fork *forks; /* [n_forks] of this pass */
    size_t n_forks;
    struct sequence *sequences; /* [(1 + n_forks) * n_prompts] clean ones first */
    struct tap *taps;           /* [n_taps] */
    size_t n_taps;
    float *final;     /* [(1 + n_forks) * N, D] final norms */
    float *mean;      /* [widest d_out] */
    struct status st; /* what went wrong inside the pass */
};

/* Makes a pass; of p the first five are set. resid: [N, D] for the last layer's resid_post, which
 * the first pass takes with the sources' rows; NULL in later ones. */
int dark_pass_make(struct dark_pass *p, float *resid, struct pass_part *part, struct status *st);
void dark_pass_free(struct dark_pass *p); /* its arrays; safe on a zeroed struct */

/* Encodes all rows of a source, once. */
int dark_encode(const struct dark_pass *p, struct dark_source *s, struct status *st);

/* KL and loss of the forks for the tokens from `token` on, as many as DARK_LOGIT_ROWS allows: *n;
 * the clean figures with them if clean is set. */
int dark_compare(struct dark_pass *p, bool clean, size_t token, size_t *n, struct status *st);

/* Everything else of a source that was encoded but its votes. resid [N, D]: the last layer's
 * resid_post. */
int dark_measure(const struct dark_pass *p, struct dark_source *s, const float *resid,
                 struct status *st);

/* The votes of the tokens from `token` on, DARK_LOGIT_ROWS of them at most. */
int dark_rank(const struct dark_pass *p, struct dark_source *s, size_t token, struct status *st);

/* The mean of the target over one prompt's positions 1.. that are not kept -> m [width]; false if
 * there are none. */
bool dark_mean(const struct dark *d, const struct dark_source *s, size_t prompt, float *m);

static inline size_t dark_tokens(const struct dark *d)
{
    return d->first[d->n_prompts];
}

static inline bool dark_kept(const struct dark *d, size_t token)
{
    return d->kept && d->kept[token];
}

#endif
