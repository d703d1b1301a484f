/* The parts of the logits: products of what was read with the targets' directions, pulled back
 * through the sublayers where they are split. */
#include "core/base/memory.h"
#include "core/engine_attribution_private.h"

#include <math.h>
#include <string.h>

static const struct sae_source *source_at(const struct attribution_work *w, size_t i)
{
    return catalogue_find(&w->engine->catalogue, w->a->sources[i].name);
}

/* --- the parts -------------------------------------------------------------------------------- */

static int allocate(struct attribution_work *w, struct status *st)
{
    struct attribution *a = w->a;
    const struct gemma_config *c = &w->engine->config;
    size_t n = a->n, L = c->n_layers, per_source = 3 * n;
    size_t floats = n * (6 + L * (2 + c->n_heads)) + a->n_sources * per_source;
    a->block = memory_zalloc(floats, sizeof *a->block);
    w->u = memory_alloc(n * c->hidden_size, sizeof *w->u);
    if (!a->block || !w->u) {
        return status_no_memory(st, floats * sizeof *a->block);
    }
    float *next = a->block;
    float **const lists[] = {&a->logit, &a->precap, &a->slope,
                             &a->embed, &a->rest,   &a->neurons_sum};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++, next += n) {
        *lists[i] = next;
    }
    a->attn = next;
    a->mlp = a->attn + L * n;
    a->heads = a->mlp + L * n;
    next = a->heads + L * c->n_heads * n;
    for (size_t i = 0; i < a->n_sources; i++, next += per_source) {
        a->sources[i].features_sum = next;
        a->sources[i].bias = next + n;
        a->sources[i].error = next + 2 * n;
    }
    return STATUS_OK;
}

/* Each head's share of attn_out: its slice of z, through o_proj and the frozen norm. */
static int split_heads(struct attribution_work *w, size_t layer, struct status *st)
{
    const struct gemma_config *c = &w->engine->config;
    size_t n = w->a->n, K = c->head_dim, HK = c->n_heads * K;
    float *pulled = memory_alloc(n * HK, sizeof *pulled);
    if (!pulled) {
        return status_no_memory(st, n * HK * sizeof *pulled);
    }
    const float *z = of_layer(w, layer, Z);
    int code = direct_pull(&w->engine->weights, w->engine->threads, POINT_Z, (int)layer,
                           of_layer(w, layer, ATTN_RAW), w->u, n, pulled, st);
    for (size_t h = 0; h < c->n_heads && !code; h++) {
        for (size_t i = 0; i < n; i++) {
            w->a->heads[(layer * c->n_heads + h) * n + i] =
                (float)direct_dot(pulled + i * HK + h * K, z + h * K, K);
        }
    }
    memory_free(pulled);
    return code;
}

static int split_model(struct attribution_work *w, struct status *st)
{
    struct attribution *a = w->a;
    const struct weights *weights = &w->engine->weights;
    const struct gemma_config *c = &w->engine->config;
    size_t n = a->n, D = c->hidden_size;
    float *row = memory_alloc(D, sizeof *row);
    int code = row ? STATUS_OK : status_no_memory(st, D * sizeof *row);
    for (size_t i = 0; i < n && !code; i++) {
        const float *u = w->u + i * D;
        tensor_widen(&weights->unembedding, (size_t)a->target_ids[i] * D, D, row);
        double precap = direct_dot(row, w->reads[FINAL_NORM].data, D);
        double cap = (double)c->final_softcap, embed = direct_dot(u, w->reads[EMBED].data, D);
        double share = cap > 0.0 ? tanh(precap / cap) : 0.0, parts = embed;
        for (size_t l = 0; l < c->n_layers; l++) {
            double attn = direct_dot(u, of_layer(w, l, ATTN_OUT), D);
            double mlp = direct_dot(u, of_layer(w, l, MLP_OUT), D);
            a->attn[l * n + i] = (float)attn;
            a->mlp[l * n + i] = (float)mlp;
            parts += attn + mlp;
        }
        a->embed[i] = (float)embed;
        a->precap[i] = (float)precap;
        a->logit[i] = (float)(cap > 0.0 ? cap * share : precap);
        a->slope[i] = (float)(1.0 - share * share);
        a->rest[i] = (float)(precap - parts);
    }
    memory_free(row);
    for (size_t l = 0; l < c->n_layers && !code; l++) {
        code = split_heads(w, l, st);
    }
    return code;
}

static int split_neurons(struct attribution_work *w, struct status *st)
{
    struct attribution *a = w->a;
    size_t n = a->n, F = w->engine->config.intermediate_size, layer = (size_t)a->neuron_layer;
    const float *neurons =
        w->reads[OF_MODEL + w->engine->config.n_layers * OF_LAYER + a->n_sources * OF_SOURCE].data;
    float *pulled = memory_alloc(n * F, sizeof *pulled);
    struct direct_part *parts = memory_alloc(F, sizeof *parts);
    a->n_neurons = a->top < F ? a->top : F;
    a->neurons = memory_alloc(n * a->n_neurons, sizeof *a->neurons);
    int code = pulled && parts && a->neurons
                   ? direct_pull(&w->engine->weights, w->engine->threads, POINT_NEURONS,
                                 a->neuron_layer, of_layer(w, layer, MLP_RAW), w->u, n, pulled, st)
                   : status_no_memory(st, n * F * sizeof *pulled);
    for (size_t i = 0; i < n && !code; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < F; j++) {
            double value = (double)pulled[i * F + j] * (double)neurons[j];
            parts[j] = (struct direct_part){(uint32_t)j, neurons[j], (float)value};
            sum += value;
        }
        (void)direct_largest(parts, F, a->n_neurons);
        memcpy(a->neurons + i * a->n_neurons, parts, a->n_neurons * sizeof *parts);
        a->neurons_sum[i] = (float)sum;
    }
    memory_free(pulled);
    memory_free(parts);
    return code;
}

/* --- sources ---------------------------------------------------------------------------------- */

/* The rows that the active features write, and then each one's products. pulled [n, d_out] */
static int split_features(struct attribution_work *w, size_t index, const struct sae *sae,
                          const float *pulled, struct status *st)
{
    struct attribution *a = w->a;
    struct attribution_source *s = &a->sources[index];
    const struct sae_source *source = sae_source(sae);
    const float *acts = of_source(w, index, ACTS), *x = of_source(w, index, INPUT);
    size_t n = a->n, d = source->d_out, active = 0;
    for (size_t j = 0; j < source->d_sae; j++) {
        active += acts[j] != 0.0f;
    }
    s->n_active = active;
    s->n_features = a->top < active ? a->top : active;
    s->features = memory_alloc(n * s->n_features, sizeof *s->features);
    struct direct_part *parts = memory_alloc(n * active, sizeof *parts);
    float *row = memory_alloc(d, sizeof *row);
    double *sums = memory_zalloc(n, sizeof *sums);
    int code = s->features && parts && row && sums
                   ? STATUS_OK
                   : status_no_memory(st, n * active * sizeof *parts);
    for (size_t j = 0, k = 0; j < source->d_sae && !code; j++) {
        if (acts[j] == 0.0f) {
            continue;
        }
        code = sae_feature_part(sae, x, j, acts[j], row, st);
        for (size_t i = 0; i < n && !code; i++) {
            double value = direct_dot(pulled + i * d, row, d);
            parts[i * active + k] = (struct direct_part){(uint32_t)j, acts[j], (float)value};
            sums[i] += value;
        }
        k++;
    }
    for (size_t i = 0; i < n && !code; i++) {
        (void)direct_largest(parts + i * active, active, s->n_features);
        memcpy(s->features + i * s->n_features, parts + i * active, s->n_features * sizeof *parts);
        double recon = direct_dot(pulled + i * d, of_source(w, index, RECON), d);
        s->features_sum[i] = (float)sums[i];
        s->bias[i] = (float)(recon - sums[i]);
        s->error[i] = (float)direct_dot(pulled + i * d, of_source(w, index, ERROR), d);
    }
    memory_free(sums);
    memory_free(row);
    memory_free(parts);
    return code;
}

static int split_source(struct attribution_work *w, size_t i, struct status *st)
{
    struct engine *e = w->engine;
    const struct sae_source *s = source_at(w, i);
    bool attention = s->output == POINT_Z || s->output == POINT_ATTN_OUT_RAW;
    float *pulled = memory_alloc(w->a->n * s->d_out, sizeof *pulled);
    struct sae *sae;
    int code = pulled ? pool_acquire(e->pool, s->name, &sae, st)
                      : status_no_memory(st, w->a->n * s->d_out * sizeof *pulled);
    if (!code) {
        code = direct_pull(&e->weights, e->threads, s->output, s->layer,
                           of_layer(w, (size_t)s->layer, attention ? ATTN_RAW : MLP_RAW), w->u,
                           w->a->n, pulled, st);
        code = code ? code : split_features(w, i, sae, pulled, st);
        code = pool_release(e->pool, sae, code, st);
    }
    memory_free(pulled);
    return code;
}

/* --- all of them ------------------------------------------------------------------------------ */

int attribution_split(struct attribution_work *w, struct status *st)
{
    struct attribution *a = w->a;
    int code = allocate(w, st);
    if (!code) {
        direct_directions(&w->engine->weights, a->target_ids, a->n, w->reads[FINAL].data, w->u);
        code = split_model(w, st);
    }
    if (!code && a->neuron_layer >= 0) {
        code = split_neurons(w, st);
    }
    for (size_t i = 0; i < a->n_sources && !code; i++) {
        code = split_source(w, i, st);
    }
    return code;
}
