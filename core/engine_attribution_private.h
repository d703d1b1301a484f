/* What engine_attribution.c (the request and the pass) and engine_attribution_parts.c share. */
#ifndef DM_ENGINE_ATTRIBUTION_PRIVATE_H
#define DM_ENGINE_ATTRIBUTION_PRIVATE_H

#include "core/engine_private.h"
#include "core/lens/direct.h"

/* Where each read stands: three of the model, four of every layer, the neurons, and four of every
 * source. */
enum { EMBED, FINAL, FINAL_NORM, OF_MODEL };
enum { ATTN_OUT, ATTN_RAW, Z, MLP_OUT, MLP_RAW, OF_LAYER };
enum { INPUT, ACTS, RECON, ERROR, OF_SOURCE };

struct attribution_work {
    struct engine *engine;
    struct attribution *a;
    struct engine_read *reads;
    size_t n_reads;
    struct engine_prompt prompt;
    struct engine_task trace;
    int32_t position;
    float *u; /* [n, D] */
};

static inline const float *of_layer(const struct attribution_work *w, size_t layer, int which)
{
    return w->reads[OF_MODEL + layer * OF_LAYER + (size_t)which].data;
}

static inline const float *of_source(const struct attribution_work *w, size_t i, int which)
{
    return w
        ->reads[OF_MODEL + w->engine->config.n_layers * OF_LAYER + i * OF_SOURCE + (size_t)which]
        .data;
}

/* From what was read to the parts of every target; a->n and a->target_ids are set. */
int attribution_split(struct attribution_work *w, struct status *st);

#endif
