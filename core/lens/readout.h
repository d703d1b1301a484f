/* What rows of the residual stream say about the next token: the logit lens (nostalgebraist, 2020),
 * read without keeping the logits.
 *
 *     l = cap(U (gamma * N(x)))   N(x) = x / sqrt(mean(x^2) + eps), gamma the final norm's 1 + w
 *     p = softmax(l)              logsumexp(l) and every sum below in double
 *     entropy = -sum p log p      in nats
 *     kl = sum q (log q - log p)  q: what the model itself says at that position
 *
 * (docs/model.md, "Lenses"). Rows are multiplied with the unembedding together, as many as
 * READOUT_BYTES of logits hold; the bits of a row do not depend on its neighbours. */
#ifndef DM_LENS_READOUT_H
#define DM_LENS_READOUT_H

#include "core/base/status.h"
#include "core/base/threads.h"
#include "core/gemma/weights.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define READOUT_BYTES ((size_t)64 << 20)

/* What is kept of every row; all of it is borrowed. */
struct readout_options {
    bool norm;             /* N and gamma; else U x alone */
    bool softcap;          /* where the model has one */
    size_t top_n;          /* likeliest tokens kept, at most so many; <= vocabulary */
    const uint64_t *words; /* bit per id: only these are kept among them; NULL: any */
    const int32_t *track;  /* [n_track] tokens whose figures are kept */
    size_t n_track;
};

/* The figures of one row. The arrays are the caller's. */
struct readout_row {
    bool keeps_first;  /* set by the caller: the model's own likeliest token is kept though it is
                          no word */
    size_t n_top;      /* how many there are, falling by logit, ties to the lower id */
    int32_t *top_ids;  /* [top_n] */
    float *top_logits; /* [top_n] */
    float *top_probs;  /* [top_n], of the whole vocabulary */
    float entropy, kl;
    int32_t *ranks; /* [n_track] 1: the likeliest (ties: the lower id first) */
    float *logits;  /* [n_track] */
    float *probs;   /* [n_track] */
};

struct readout;

/* weights and threads must outlive it. */
int readout_create(struct readout **out, const struct weights *weights, struct threads *threads,
                   struct status *st);
void readout_destroy(struct readout *readout); /* NULL is fine */

/* How many positions of rows_each rows are best read at once: 1 and more. */
size_t readout_positions(const struct readout *readout, size_t rows_each);

/* positions rows of the model's own last norm [positions, D] and, of each of them, rows_each rows
 * x [positions, rows_each, D] -> rows [positions, rows_each]. */
int readout_run(struct readout *readout, const struct readout_options *options, const float *last,
                const float *x, size_t positions, size_t rows_each, struct readout_row *rows,
                struct status *st);

#endif
