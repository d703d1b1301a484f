/* Attention of the packed batch: each sequence looks only at its own keys.
 *
 * Query head h uses key/value head h / (H/G). A token at position p sees the keys j with
 * j <= p, in a local layer also j > p - W (W = sliding_window, the token itself among them). Scores
 * are scaled, then soft-capped, then masked (docs/model.md, "One layer"). */
#ifndef DM_GEMMA_ATTENTION_H
#define DM_GEMMA_ATTENTION_H

#include "core/base/threads.h"
#include "core/gemma/config.h"
#include "core/gemma/taps.h"

#include <stddef.h>

/* One sequence in one layer. */
struct attention_span {
    size_t first_row;    /* of the packed batch: its first token in this run */
    size_t n;            /* tokens in this run */
    size_t past;         /* position of the first of them */
    const float *keys;   /* [past + n, G*K] */
    const float *values; /* [past + n, G*K] */
};

/* q [rows, H*K] after RoPE -> z [rows, H*K]. Span i is sequence i of the taps. */
void attention_run(struct threads *threads, const struct gemma_config *config, int layer,
                   const struct attention_span *spans, size_t n_spans, const float *q, float *z,
                   const struct taps *taps);

#endif
