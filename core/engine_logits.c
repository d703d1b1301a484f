/* What features, and the errors of SAEs, write into the vocabulary: rows times the unembedding. */
#include "core/base/memory.h"
#include "core/engine_private.h"
#include "core/lens/lens.h"
#include "core/math/kernels.h"

#include <string.h>

struct ranking {
    const float *logits; /* [rows, V] */
    size_t V;
    struct engine_logits *out; /* [rows] */
};

/* Inserts into a list that falls (sign 1) or rises (sign -1); an equal value goes behind. */
static void keep(int32_t id, float value, float sign, int32_t *ids, float *values, size_t n)
{
    size_t at = n;
    for (; at > 0 && sign * values[at - 1] < sign * value; at--) {
        if (at < ENGINE_LOGITS) {
            values[at] = values[at - 1];
            ids[at] = ids[at - 1];
        }
    }
    if (at < ENGINE_LOGITS) {
        values[at] = value;
        ids[at] = id;
    }
}

static void rank_row(void *argument, size_t row, int worker)
{
    (void)worker;
    const struct ranking *r = argument;
    const float *logits = r->logits + row * r->V;
    struct engine_logits *out = &r->out[row];
    for (size_t id = 0; id < r->V; id++) {
        size_t n = id < ENGINE_LOGITS ? id : ENGINE_LOGITS;
        if (n < ENGINE_LOGITS || logits[id] > out->top[ENGINE_LOGITS - 1]) {
            keep((int32_t)id, logits[id], 1.0f, out->top_ids, out->top, n);
        }
        if (n < ENGINE_LOGITS || logits[id] < out->bottom[ENGINE_LOGITS - 1]) {
            keep((int32_t)id, logits[id], -1.0f, out->bottom_ids, out->bottom, n);
        }
    }
    histogram_of(&out->histogram, logits, r->V);
}

/* Rows of one block: a power of two, so that ENGINE_LOGITS_STEP is a multiple of it. */
static size_t block_rows(size_t V)
{
    size_t rows = ENGINE_LOGITS_STEP;
    while (rows > 1 && rows > ENGINE_LOGITS_BYTES / sizeof(float) / V) {
        rows /= 2;
    }
    return rows;
}

struct scratch {
    float *decoder;  /* [rows, d_out] */
    float *residual; /* [rows, D]; the same for sources that write there directly */
    float *logits;   /* [rows, V] */
};

static int run_block(const struct decoder *d, const struct scratch *s, size_t first, size_t rows,
                     struct engine_logits *out, struct status *st)
{
    const struct engine *e = d->engine;
    const struct sae_source *source = d->source;
    for (size_t i = 0; i < rows; i++) {
        int code = engine_decoder_row(d, first + i, s->decoder + i * source->d_out, st);
        if (code) {
            return code;
        }
    }
    if (s->residual != s->decoder) {
        kernel_matmul(e->threads, s->decoder, rows, &e->weights.layers[source->layer].o_proj,
                      s->residual);
    }
    kernel_matmul(e->threads, s->residual, rows, &e->weights.unembedding, s->logits);
    struct ranking ranking = {s->logits, e->config.vocab_size, out};
    threads_run(e->threads, rows, rank_row, &ranking);
    return STATUS_OK;
}

static int run_blocks(const struct decoder *d, size_t first, size_t n, struct engine_logits *out,
                      const atomic_bool *cancel, struct status *st)
{
    const struct engine *e = d->engine;
    const struct sae_source *source = d->source;
    size_t V = e->config.vocab_size, D = e->config.hidden_size;
    size_t rows = block_rows(V);
    bool through_heads = source->output == POINT_Z;
    struct scratch s = {.decoder = memory_alloc(rows * source->d_out, sizeof(float)),
                        .logits = memory_alloc(rows * V, sizeof(float))};
    s.residual = through_heads ? memory_alloc(rows * D, sizeof(float)) : s.decoder;
    int code = STATUS_OK;
    if (!s.decoder || !s.residual || !s.logits) {
        code = status_no_memory(st, rows * (V + D + source->d_out) * sizeof(float));
    }
    for (size_t at = 0; at < n && !code; at += rows) {
        if (cancel && atomic_load(cancel)) {
            code = status_set(st, STATUS_CANCELLED, "the features' logits were not finished");
        } else {
            code = run_block(d, &s, first + at, n - at < rows ? n - at : rows, out + at, st);
        }
    }
    memory_free(through_heads ? s.residual : NULL);
    memory_free(s.decoder);
    memory_free(s.logits);
    return code;
}

int engine_feature_logits(struct engine *e, const char *source, size_t first, size_t n,
                          struct engine_logits *out, bool *known, const atomic_bool *cancel,
                          struct status *st)
{
    struct decoder d;
    *known = false;
    int code = engine_decoder_open(&d, e, source, st);
    if (code) {
        return code;
    }
    const struct sae_source *s = d.source;
    enum point to = s->output;
    bool leads = to == POINT_Z || to == POINT_RESID_PRE || to == POINT_RESID_MID ||
                 to == POINT_RESID_POST || to == POINT_ATTN_OUT || to == POINT_MLP_OUT;
    if (first > s->d_sae || n > s->d_sae - first) {
        code = status_set(st, STATUS_INVALID,
                          "features: expected less than %zu for source %s, found %zu and %zu more",
                          s->d_sae, s->name, first, n);
    } else if (leads && e->config.vocab_size >= ENGINE_LOGITS) {
        code = run_blocks(&d, first, n, out, cancel, st);
        *known = code == STATUS_OK;
    }
    code = engine_decoder_close(&d, code, st);
    *known = *known && code == STATUS_OK;
    return code;
}

int engine_evaluation_votes(struct engine *e, const struct evaluation *evaluation,
                            struct engine_logits *out, bool *known, struct status *st)
{
    size_t V = e->config.vocab_size, D = e->config.hidden_size;
    double n = evaluation->sums.tokens;
    *known = evaluation->leads && n > 0.0 && V >= ENGINE_LOGITS;
    if (!*known) {
        return STATUS_OK;
    }
    float *mean = memory_alloc(D, sizeof *mean), *logits = memory_alloc(V, sizeof *logits);
    int code = mean && logits ? STATUS_OK : status_no_memory(st, (D + V) * sizeof *logits);
    for (size_t i = 0; i < D && !code; i++) {
        mean[i] = (float)(evaluation->arrives[i] / n);
    }
    code = code ? code : lens_vector_logits(&e->weights, e->threads, mean, false, logits, st);
    if (!code) {
        rank_row(&(struct ranking){logits, V, out}, 0, 0);
    }
    *known = code == STATUS_OK;
    memory_free(mean);
    memory_free(logits);
    return code;
}
