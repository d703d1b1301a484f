/* What engine_lens.c (the steps) and engine_lens_open.c (the checks) share. */
#ifndef DM_ENGINE_LENS_PRIVATE_H
#define DM_ENGINE_LENS_PRIVATE_H

#include "core/engine_private.h"

struct lens_reading {
    struct engine *engine;
    struct lens_options options;
    const struct tuned *tuned; /* NULL: none */
    size_t n_rows;             /* of one position */
    size_t n_tokens;           /* what fits of options.n_tokens */

    /* From the first step on: */
    struct kv_cache cache;
    struct edits *edits;
    struct sampler *sampler;
    struct readout *readout;
    const uint64_t *words;
    int32_t *ids; /* [n_ids] the prompt and what was generated */
    size_t n_ids;
    float *logits; /* [V] of the last token, where another one is to be chosen */
    bool ended;    /* nothing more is generated */

    /* The chunk: rows at hand, and which of them are read. */
    float *taken;    /* [n_rows + 1, LENS_CHUNK, D] the last: the model's own last norm */
    float *x;        /* [group, n_rows, D], then [group, D] */
    int32_t *tokens; /* [chunk] of this run: the positions that are read */
    size_t chunk, chunk_first, chunk_read;

    /* The pass that brings the next chunk; n_sequences 0 while the last one is being read. */
    struct tap *taps; /* [n_rows + 2] */
    struct sequence sequence;
    size_t n_sequences;
    struct edits_run run;
    int32_t last; /* of this run: the token whose logits are wanted */

    /* What the last step has read: */
    struct lens_position *ready; /* [group] */
    struct readout_row *rows;    /* [group, n_rows] */
    void *figures;               /* their arrays */
    size_t n_ready, group;
};

/* The last layer's resid_post is what the model says; a tuned lens has no map for it. */
static inline bool lens_reading_is_last(const struct engine *e, enum point point, int layer)
{
    return point == POINT_RESID_POST && (size_t)layer + 1 == e->config.n_layers;
}

#endif
