#include "core/gemma/forward.h"

#include "core/base/memory.h"
#include "core/gemma/attention.h"
#include "core/math/kernels.h"

#include <math.h>
#include <string.h>

#define LOGIT_ROWS 32 /* tokens unembedded together: bounds the logits in memory */

/* N tokens of all sequences together; D, H, G, K, F, V as in weights.h. */
struct forward {
    const struct weights *weights;
    struct threads *threads;

    size_t rows; /* what the buffers below have room for */
    float *pages;
    size_t page_bytes;
    float *x;         /* [N, D] the residual stream */
    float *a;         /* [N, D] a normed copy of it */
    float *q;         /* [N, H*K] */
    float *k, *v;     /* [N, G*K] */
    float *z;         /* [N, H*K] concatenated heads */
    float *o;         /* [N, D] what a sublayer adds */
    float *gate;      /* [N, F] gelu of the gate */
    float *neurons;   /* [N, F] */
    float *frequency; /* [2, K/2] RoPE's, of full and of local layers */
    float *cosine[2]; /* [N, K/2] RoPE, of full and of local layers */
    float *sine[2];
    float *logits; /* [LOGIT_ROWS, V] */
    size_t logit_bytes;

    /* The run: */
    const struct sequence *sequences;
    size_t n_sequences; /* that have begun: forks join in their layer */
    const struct taps *taps;
    const struct forward_hook *hook; /* NULL: nobody interferes */
    struct attention_span *spans;    /* [n_sequences] */
};

int forward_create(struct forward **out, const struct weights *weights, struct threads *threads,
                   struct status *st)
{
    struct forward *f = memory_zalloc(1, sizeof *f);
    *out = f;
    if (!f) {
        return status_no_memory(st, sizeof *f);
    }
    f->weights = weights;
    f->threads = threads;
    const struct gemma_config *c = weights->config;
    size_t half = c->head_dim / 2;
    f->frequency = memory_alloc(2 * half, sizeof *f->frequency);
    if (!f->frequency) {
        memory_free(f);
        *out = NULL;
        return status_no_memory(st, 2 * half * sizeof *f->frequency);
    }
    for (size_t i = 0; i < 2 * half; i++) {
        size_t kind = i / half;
        float exponent = (float)(2 * (i % half)) / (float)c->head_dim;
        f->frequency[i] = 1.0f / powf(c->rope_theta[kind], exponent) / c->rope_factor[kind];
    }
    return STATUS_OK;
}

void forward_destroy(struct forward *f)
{
    if (f) {
        memory_free_pages(f->pages, f->page_bytes);
        memory_free_pages(f->logits, f->logit_bytes);
        memory_free(f->frequency);
        memory_free(f);
    }
}

/* --- room
 * ------------------------------------------------------------------------------------------ */

static float *carve(float **next, size_t floats)
{
    float *start = *next;
    *next += (floats + 15) / 16 * 16; /* the next one starts on a cache line */
    return start;
}

static int reserve(struct forward *f, size_t rows, struct status *st)
{
    if (rows <= f->rows) {
        return STATUS_OK;
    }
    const struct gemma_config *c = f->weights->config;
    size_t D = c->hidden_size, F = c->intermediate_size, half = c->head_dim / 2;
    size_t HK = c->n_heads * c->head_dim, GK = c->n_kv_heads * c->head_dim;
    size_t row_floats = 3 * D + 2 * HK + 2 * GK + 2 * F + 4 * half;
    size_t bytes;
    if (!memory_multiply(row_floats * sizeof(float), rows, &bytes) ||
        !memory_add(bytes, 16 * 16 * sizeof(float), &bytes)) {
        return status_no_memory(st, ~0ull);
    }
    float *next = memory_pages(bytes);
    if (!next) {
        return status_no_memory(st, bytes);
    }
    memory_free_pages(f->pages, f->page_bytes);
    f->pages = next;
    f->page_bytes = bytes;
    f->rows = rows;
    f->x = carve(&next, rows * D);
    f->a = carve(&next, rows * D);
    f->o = carve(&next, rows * D);
    f->q = carve(&next, rows * HK);
    f->z = carve(&next, rows * HK);
    f->k = carve(&next, rows * GK);
    f->v = carve(&next, rows * GK);
    f->gate = carve(&next, rows * F);
    f->neurons = carve(&next, rows * F);
    for (int kind = 0; kind < 2; kind++) {
        f->cosine[kind] = carve(&next, rows * half);
        f->sine[kind] = carve(&next, rows * half);
    }
    return STATUS_OK;
}

static int reserve_logits(struct forward *f, struct status *st)
{
    if (!f->logits) {
        f->logit_bytes = LOGIT_ROWS * f->weights->config->vocab_size * sizeof(float);
        f->logits = memory_pages(f->logit_bytes);
    }
    return f->logits ? STATUS_OK : status_no_memory(st, f->logit_bytes);
}

/* --- parts of the pass
 * ------------------------------------------------------------------------------ */

/* A point of the pass is reached: x is [N, width]. The hook may change it, then the taps copy it.
 */
static void offer(const struct forward *f, enum point point, size_t layer, float *x, size_t width)
{
    for (size_t s = 0; (f->hook || f->taps->n > 0) && s < f->n_sequences; s++) {
        const struct attention_span *span = &f->spans[s];
        float *rows = x + span->first_row * width;
        if (f->hook) {
            f->hook->visit(f->hook->user, point, (int)layer, s, rows, span->n, width, span->past);
        }
        taps_offer(f->taps, point, (int)layer, s, rows, span->n, width);
    }
}

static bool wanted(const struct forward *f, enum point point, size_t layer)
{
    for (size_t s = 0; s < f->n_sequences; s++) {
        if (f->hook || taps_want(f->taps, point, (int)layer, s)) {
            return true;
        }
    }
    return false;
}

/* Token `row` of the batch: its embedding times the scale, and the angles of its position. Angles
 * are computed in float, as Hugging Face does. */
static void embed_row(void *argument, size_t row, int worker)
{
    (void)worker;
    const struct forward *f = argument;
    const struct gemma_config *c = f->weights->config;
    size_t D = c->hidden_size, half = c->head_dim / 2;
    size_t s = 0;
    while (row >= f->spans[s].first_row + f->spans[s].n) {
        s++;
    }
    size_t t = row - f->spans[s].first_row;
    float *x = f->x + row * D;
    tensor_widen(&f->weights->embedding, (size_t)f->sequences[s].ids[t] * D, D, x);
    for (size_t i = 0; i < D; i++) {
        x[i] *= f->weights->embed_scale;
    }
    for (int kind = 0; kind < 2; kind++) {
        float *cosine = f->cosine[kind] + row * half, *sine = f->sine[kind] + row * half;
        for (size_t i = 0; i < half; i++) {
            float angle = (float)(f->spans[s].past + t) * f->frequency[kind * half + i];
            cosine[i] = cosf(angle);
            sine[i] = sinf(angle);
        }
    }
}

/* Where each sequence's keys and values of this layer are: in the batch, or behind those of earlier
 * runs in its cache. */
static void place_keys(struct forward *f, size_t layer)
{
    size_t GK = f->weights->config->n_kv_heads * f->weights->config->head_dim;
    for (size_t s = 0; s < f->n_sequences; s++) {
        struct attention_span *span = &f->spans[s];
        const struct kv_cache *cache = f->sequences[s].cache;
        span->keys = f->k + span->first_row * GK;
        span->values = f->v + span->first_row * GK;
        if (cache) {
            float *keys = kv_cache_keys(cache, layer);
            float *values = kv_cache_values(cache, layer);
            memcpy(keys + span->past * GK, span->keys, span->n * GK * sizeof(float));
            memcpy(values + span->past * GK, span->values, span->n * GK * sizeof(float));
            span->keys = keys;
            span->values = values;
        }
    }
}

/* Final norm, and the logits of the tokens that a tap wants, LOGIT_ROWS at a time. */
static int head(struct forward *f, size_t rows, struct status *st)
{
    const struct weights *w = f->weights;
    const struct gemma_config *c = w->config;
    size_t D = c->hidden_size, V = c->vocab_size;
    kernel_rmsnorm(f->threads, f->x, rows, D, w->final_gain, c->rms_norm_eps, f->a);
    offer(f, POINT_FINAL_NORM, 0, f->a, D);

    struct {
        size_t sequence, token;
    } wanted[LOGIT_ROWS];
    size_t n = 0;
    for (size_t s = 0; s < f->n_sequences; s++) {
        const struct attention_span *span = &f->spans[s];
        for (size_t t = 0; t < span->n; t++) {
            if (taps_want_logits(f->taps, s, t, span->n)) {
                memcpy(f->o + n * D, f->a + (span->first_row + t) * D, D * sizeof(float));
                wanted[n].sequence = s;
                wanted[n++].token = t;
            }
            bool last = s + 1 == f->n_sequences && t + 1 == span->n;
            if (n == 0 || (n < LOGIT_ROWS && !last)) {
                continue;
            }
            if (reserve_logits(f, st)) {
                return (int)st->code;
            }
            kernel_matmul_as(f->threads, w->precision, f->o, n, &w->unembedding, f->logits);
            kernel_softcap_all(f->threads, f->logits, n * V, c->final_softcap);
            for (size_t i = 0; i < n; i++) {
                const struct sequence *of = &f->sequences[wanted[i].sequence];
                size_t token = wanted[i].token;
                taps_offer_logits(f->taps, wanted[i].sequence, token, of->n, f->logits + i * V, V,
                                  token + 1 < of->n ? of->ids[token + 1] : -1);
            }
            n = 0;
        }
    }
    return STATUS_OK;
}

/* What a sublayer gives is normed and added to the stream: in one go, unless a hook may change it
 * in between. The sums are the same either way. */
static void norm_and_add(struct forward *f, enum point point, size_t layer, const float *gain,
                         size_t N)
{
    const struct gemma_config *c = f->weights->config;
    size_t D = c->hidden_size;
    if (!f->hook) {
        kernel_rmsnorm_add(f->threads, f->o, N, D, gain, c->rms_norm_eps, f->o, f->x);
        offer(f, point, layer, f->o, D);
        return;
    }
    kernel_rmsnorm(f->threads, f->o, N, D, gain, c->rms_norm_eps, f->o);
    offer(f, point, layer, f->o, D);
    for (size_t i = 0; i < N * D; i++) {
        f->x[i] += f->o[i];
    }
}

/* --- the pass
 * ------------------------------------------------------------------------------------------ */

/* One block of the transformer, in the order of the paper (arXiv 2408.00118, section 2; Gemma 3:
 * arXiv 2503.19786). Reads and leaves the residual stream in f->x. */
static void layer(struct forward *f, size_t i, size_t N)
{
    const struct gemma_config *c = f->weights->config;
    const struct layer_weights *w = &f->weights->layers[i];
    struct threads *threads = f->threads;
    const enum precision precision = f->weights->precision;
    const float eps = c->rms_norm_eps;
    const size_t D = c->hidden_size, F = c->intermediate_size, K = c->head_dim;
    const size_t H = c->n_heads, G = c->n_kv_heads;

    /* attention reads a normed copy of the residual stream */
    offer(f, POINT_RESID_PRE, i, f->x, D);
    kernel_rmsnorm(threads, f->x, N, D, w->input_gain, eps, f->a);
    offer(f, POINT_ATTN_IN, i, f->a, D);

    /* queries, keys, values; Gemma 3 norms each head's query and key */
    const struct kernel_output qkv[] = {{&w->q_proj, f->q}, {&w->k_proj, f->k}, {&w->v_proj, f->v}};
    kernel_matmul_each(threads, precision, f->a, N, qkv, 3);
    if (w->q_gain) {
        kernel_rmsnorm(threads, f->q, N * H, K, w->q_gain, eps, f->q);
        kernel_rmsnorm(threads, f->k, N * G, K, w->k_gain, eps, f->k);
    }

    /* positions turn queries and keys; local and full layers have their own frequencies */
    int kind = c->local[i] ? 1 : 0;
    kernel_rope(threads, f->q, N, H, K, f->cosine[kind], f->sine[kind]);
    kernel_rope(threads, f->k, N, G, K, f->cosine[kind], f->sine[kind]);
    offer(f, POINT_Q, i, f->q, H * K);
    offer(f, POINT_K, i, f->k, G * K);
    offer(f, POINT_V, i, f->v, G * K);

    /* every head mixes the values of the keys it may see */
    place_keys(f, i);
    attention_run(threads, c, (int)i, f->spans, f->n_sequences, f->q, f->z, f->taps);
    offer(f, POINT_Z, i, f->z, H * K);

    /* back to the stream's width, normed, added */
    kernel_matmul_as(threads, precision, f->z, N, &w->o_proj, f->o);
    offer(f, POINT_ATTN_OUT_RAW, i, f->o, D);
    norm_and_add(f, POINT_ATTN_OUT, i, w->post_attention_gain, N);
    offer(f, POINT_RESID_MID, i, f->x, D);

    /* the feed-forward layer reads its own normed copy (transcoders of Gemma Scope 1: without gain)
     */
    if (wanted(f, POINT_MLP_IN_PREGAIN, i)) {
        kernel_rmsnorm(threads, f->x, N, D, NULL, eps, f->a);
        offer(f, POINT_MLP_IN_PREGAIN, i, f->a, D);
    }
    kernel_rmsnorm(threads, f->x, N, D, w->pre_feedforward_gain, eps, f->a);
    offer(f, POINT_MLP_IN, i, f->a, D);

    /* neurons = gelu(gate) * up */
    kernel_geglu(threads, precision, f->a, N, &w->gate_proj, &w->up_proj, f->gate, f->neurons);
    offer(f, POINT_MLP_GATE, i, f->gate, F);
    offer(f, POINT_NEURONS, i, f->neurons, F);

    kernel_matmul_as(threads, precision, f->neurons, N, &w->down_proj, f->o);
    offer(f, POINT_MLP_OUT_RAW, i, f->o, D);
    norm_and_add(f, POINT_MLP_OUT, i, w->post_feedforward_gain, N);
    offer(f, POINT_RESID_POST, i, f->x, D);
}

/* Lays n sequences out one behind the other; *rows is how many tokens that makes. */
static int lay_out(struct forward *f, size_t n, size_t *rows, struct status *st)
{
    f->spans = memory_zalloc(n, sizeof *f->spans);
    if (!f->spans) {
        return status_no_memory(st, n * sizeof *f->spans);
    }
    *rows = 0;
    for (size_t s = 0; s < n; s++) {
        const struct sequence *q = &f->sequences[s];
        size_t past = q->cache ? q->cache->length : 0;
        if (q->cache && q->n > q->cache->capacity - past) {
            return status_set(st, STATUS_INVALID,
                              "%zu more tokens do not fit: %zu of %zu positions are taken", q->n,
                              past, q->cache->capacity);
        }
        f->spans[s] = (struct attention_span){.first_row = *rows, .n = q->n, .past = past};
        *rows += q->n;
    }
    return reserve(f, *rows, st);
}

/* Takes in the sequences, of n, that begin in this layer; returns the rows of the pass from then
 * on.
 */
static size_t join(struct forward *f, size_t n, size_t layer)
{
    size_t D = f->weights->config->hidden_size;
    while (f->n_sequences < n && f->sequences[f->n_sequences].fork_layer <= layer) {
        const struct sequence *q = &f->sequences[f->n_sequences];
        if (q->fork_layer) {
            memcpy(f->x + f->spans[f->n_sequences].first_row * D,
                   f->x + f->spans[q->fork_of].first_row * D, q->n * D * sizeof(float));
        }
        f->n_sequences++;
    }
    const struct attention_span *last = &f->spans[f->n_sequences - 1];
    return last->first_row + last->n;
}

int forward_run(struct forward *f, const struct sequence *sequences, size_t n_sequences,
                const struct taps *taps, const struct forward_hook *hook, const atomic_bool *cancel,
                struct status *st)
{
    f->hook = hook;
    f->sequences = sequences;
    f->n_sequences = 0;
    f->taps = taps;
    struct taps_depth depth = taps_depth(taps);
    size_t rows = 0;
    int code = lay_out(f, n_sequences, &rows, st);
    if (code) {
        goto done;
    }
    threads_run(f->threads, rows, embed_row, f);
    rows = join(f, n_sequences, 0);
    offer(f, POINT_EMBED, 0, f->x, f->weights->config->hidden_size);
    bool cached = false;
    for (size_t s = 0; s < n_sequences; s++) {
        cached = cached || sequences[s].cache;
    }
    size_t layers = depth.head || cached ? f->weights->config->n_layers : depth.layers;
    for (size_t i = 0; i < layers; i++) {
        if (cancel && atomic_load(cancel)) {
            code = status_set(st, STATUS_CANCELLED, "the request was cancelled");
            goto done;
        }
        rows = join(f, n_sequences, i);
        layer(f, i, rows);
    }
    if (depth.head) {
        code = head(f, rows, st);
    }
    for (size_t s = 0; code == STATUS_OK && s < n_sequences; s++) {
        if (sequences[s].cache) {
            sequences[s].cache->length += sequences[s].n;
        }
    }
done:
    memory_free(f->spans);
    f->spans = NULL;
    return code;
}
