/* What dark.c (the passes) and dark_measure.c (what is made of their rows) share. */
#ifndef DM_LENS_DARK_PRIVATE_H
#define DM_LENS_DARK_PRIVATE_H

#include "core/lens/dark.h"

/* A run of one source over all prompts. */
struct dark_fork {
    size_t source;
    enum dark_run run;
};

/* KL and loss of the forks from final [(1 + n_forks) * N, D], the final norms of the clean
 * sequences and of each fork; the clean figures with them if clean is set. */
int dark_compare(struct dark *d, const struct weights *weights, struct threads *threads,
                 const float *final, const struct dark_fork *forks, size_t n_forks, bool clean,
                 struct status *st);

/* Everything else of a source that was encoded. resid [N, D]: the last layer's resid_post. */
int dark_measure(const struct dark *d, struct dark_source *s, const struct weights *weights,
                 struct threads *threads, const float *resid, struct status *st);

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
