#include "core/gemma/attention.h"

#include "core/math/kernels.h"

#include <string.h>

#define QUERIES 64 /* of one head and sequence, multiplied with the keys together */

struct work {
    struct threads *threads;
    const struct gemma_config *config;
    int layer;
    const struct attention_span *spans;
    size_t n_spans;
    const float *q;
    float *z;
    const struct taps *taps;
};

/* Queries of one block: fewer where a very long context would overflow the scratch. */
static size_t block_size(const struct attention_span *s)
{
    size_t fit = THREADS_SCRATCH_BYTES / sizeof(float) / (s->past + s->n);
    return fit < 1 ? 1 : fit < QUERIES ? fit : QUERIES;
}

static size_t blocks_of(const struct attention_span *s)
{
    size_t block = block_size(s);
    return (s->n + block - 1) / block;
}

/* The scores of one query row over the keys low .. low+n become probabilities; those of keys that
 * the position may not see become 0. */
static void mask_and_normalise(const struct work *w, float *scores, size_t low, size_t n,
                               size_t position)
{
    size_t window = w->config->local[w->layer] ? w->config->sliding_window : position + 1;
    size_t first = position + 1 > window ? position + 1 - window : 0;
    size_t from = first - low;
    size_t to = position + 1 - low;
    memset(scores, 0, from * sizeof *scores);
    kernel_softmax(scores + from, to - from);
    memset(scores + to, 0, (n - to) * sizeof *scores);
}

static void attend(const struct work *w, size_t sequence, size_t head, size_t block, float *scores)
{
    const struct gemma_config *c = w->config;
    const struct attention_span *s = &w->spans[sequence];
    size_t K = c->head_dim, HK = c->n_heads * K, GK = c->n_kv_heads * K;
    size_t group = head / (c->n_heads / c->n_kv_heads);
    size_t first = block * block_size(s);
    size_t rows = s->n - first < block_size(s) ? s->n - first : block_size(s);
    size_t all_keys = s->past + s->n;

    bool want_scores = taps_want(w->taps, POINT_SCORES, w->layer, sequence);
    bool want_pattern = taps_want(w->taps, POINT_PATTERN, w->layer, sequence);
    size_t low = 0, high = all_keys;
    if (!want_scores && !want_pattern) { /* only the keys that some query of the block sees */
        size_t window = c->sliding_window;
        size_t start = s->past + first + 1;
        low = c->local[w->layer] && start > window ? start - window : 0;
        high = s->past + first + rows;
    }
    size_t n = high - low;

    const float *q = w->q + (s->first_row + first) * HK + head * K;
    kernel_product(q, rows, HK, s->keys + low * GK + group * K, n, GK, K, c->attention_scale,
                   scores, n);
    kernel_softcap(scores, rows * n, c->attention_softcap);
    for (size_t r = 0; r < rows; r++) {
        if (want_scores) {
            taps_offer_attention(w->taps, POINT_SCORES, w->layer, sequence, head, first + r, s->n,
                                 scores + r * n, n);
        }
        mask_and_normalise(w, scores + r * n, low, n, s->past + first + r);
        if (want_pattern) {
            taps_offer_attention(w->taps, POINT_PATTERN, w->layer, sequence, head, first + r, s->n,
                                 scores + r * n, n);
        }
    }
    float *z = w->z + (s->first_row + first) * HK + head * K;
    kernel_combine(scores, rows, n, s->values + low * GK + group * K, n, GK, K, z, HK);
}

static void attend_part(void *argument, size_t part, int worker)
{
    const struct work *w = argument;
    size_t heads = w->config->n_heads;
    size_t sequence = 0;
    while (part >= heads * blocks_of(&w->spans[sequence])) {
        part -= heads * blocks_of(&w->spans[sequence]);
        sequence++;
    }
    attend(w, sequence, part % heads, part / heads, threads_scratch(w->threads, worker));
}

void attention_run(struct threads *threads, const struct gemma_config *config, int layer,
                   const struct attention_span *spans, size_t n_spans, const float *q, float *z,
                   const struct taps *taps)
{
    struct work w = {threads, config, layer, spans, n_spans, q, z, taps};
    size_t parts = 0;
    for (size_t i = 0; i < n_spans; i++) {
        parts += config->n_heads * blocks_of(&spans[i]);
    }
    threads_run(threads, parts, attend_part, &w);
}
