#include "core/base/memory.h"
#include "core/math/kernels.h"
#include "core/sae/sae_private.h"

#include <stdlib.h>
#include <string.h>

/* pre-activations are made for CHUNK rows and PANEL features at a time: 4 MiB, whatever d_sae. */
#define PANEL 4096
#define CHUNK 256

/* The active features of one row so far. Top-k keeps the k best as a heap, the worst first. */
struct active {
    uint32_t *index;
    float *value;
    size_t n, capacity;
    bool failed;
};

struct encoding {
    const struct sae *sae;
    const float *panel; /* [rows, columns], row stride PANEL */
    size_t first, columns;
    struct active *rows;
};

static bool reserve(struct active *a)
{
    if (a->n < a->capacity) {
        return true;
    }
    size_t wanted = a->capacity ? 2 * a->capacity : 128;
    uint32_t *index = memory_resize(a->index, wanted, sizeof *index);
    a->index = index ? index : a->index;
    float *value = index ? memory_resize(a->value, wanted, sizeof *value) : NULL;
    a->value = value ? value : a->value;
    a->capacity = value ? wanted : a->capacity;
    a->failed = !value;
    return value != NULL;
}

static void push(struct active *a, uint32_t index, float value)
{
    if (!a->failed && reserve(a)) {
        a->index[a->n] = index;
        a->value[a->n++] = value;
    }
}

/* Smaller values are worse; of equal ones, the higher index. */
static bool worse(const struct active *a, size_t i, size_t k)
{
    return a->value[i] < a->value[k] || (a->value[i] == a->value[k] && a->index[i] > a->index[k]);
}

static void swap(struct active *a, size_t i, size_t k)
{
    uint32_t index = a->index[i];
    float value = a->value[i];
    a->index[i] = a->index[k];
    a->value[i] = a->value[k];
    a->index[k] = index;
    a->value[k] = value;
}

/* Columns come in rising order, so that a newcomer equal to the worst loses against it. */
static void push_best(struct active *a, size_t k, uint32_t index, float value)
{
    if (a->n < k) {
        push(a, index, value);
        for (size_t i = a->n - 1; !a->failed && i > 0 && worse(a, i, (i - 1) / 2);
             i = (i - 1) / 2) {
            swap(a, i, (i - 1) / 2);
        }
        return;
    }
    if (!(value > a->value[0])) {
        return;
    }
    a->index[0] = index;
    a->value[0] = value;
    for (size_t i = 0;;) {
        size_t child = 2 * i + 1;
        if (child >= a->n) {
            return;
        }
        child += child + 1 < a->n && worse(a, child + 1, child);
        if (!worse(a, child, i)) {
            return;
        }
        swap(a, i, child);
        i = child;
    }
}

/* One row of one panel: what passes its rule. Every comparison is false for a NaN. */
static void scan_row(void *argument, size_t r, int worker)
{
    (void)worker;
    struct encoding *e = argument;
    const struct sae *sae = e->sae;
    const float *pre = e->panel + r * PANEL;
    struct active *a = &e->rows[r];
    for (size_t c = 0; c < e->columns; c++) {
        size_t j = e->first + c;
        float value = pre[c];
        switch (sae->config.architecture) {
        case SAE_JUMPRELU:
            if (value > 0.0f && value > sae->threshold[j]) {
                push(a, (uint32_t)j, value);
            }
            break;
        case SAE_TOPK:
            if (value > 0.0f) { /* the relu: of the k largest only these stay */
                push_best(a, sae->config.k, (uint32_t)j, value);
            }
            break;
        case SAE_NONE: /* neurons are no SAE and never opened as one */
            break;
        case SAE_GATED: {
            /* (x W) exp(r_mag) + b_mag: x (W exp(r_mag)) from the gate's own product */
            float magnitude = value * sae->mag_scale[j] + sae->b_mag[j];
            if (value + sae->b_enc[j] > 0.0f && magnitude > 0.0f) {
                push(a, (uint32_t)j, magnitude);
            }
            break;
        }
        case SAE_STANDARD:
            if (value > 0.0f) {
                push(a, (uint32_t)j, value);
            }
            break;
        }
    }
}

/* sae_in [rows, d_in] -> panel: pre-activations of `columns` features; gated: without any bias. */
static void fill_panel(const struct sae *sae, struct threads *threads, const float *sae_in,
                       size_t rows, size_t first, size_t columns, float *panel, size_t stride)
{
    kernel_matmul_columns(threads, sae_in, rows, &sae->w_enc, first, columns, panel, stride);
    if (sae->config.architecture == SAE_GATED) {
        return;
    }
    const float *bias = sae->b_enc + first;
    const float *norm = sae->decoder_norm ? sae->decoder_norm + first : NULL;
    for (size_t r = 0; r < rows; r++) {
        float *y = panel + r * stride;
        for (size_t c = 0; c < columns; c++) {
            y[c] += bias[c];
        }
        for (size_t c = 0; norm && c < columns; c++) {
            y[c] *= norm[c];
        }
    }
}

/* x itself where nothing has to be done to it, else *owned. NULL if there is no memory. */
static const float *prepared(const struct sae *sae, const float *x, size_t rows, float **owned,
                             struct status *st)
{
    *owned = NULL;
    if (sae->config.norm == SAE_NORM_NONE && !sae->config.subtracts_b_dec) {
        return x;
    }
    size_t n;
    if (memory_multiply(rows, sae->source->d_in, &n)) {
        *owned = memory_aligned(n, sizeof **owned);
    }
    if (!*owned) {
        status_no_memory(st, (unsigned long long)rows * sae->source->d_in * sizeof **owned);
        return NULL;
    }
    sae_prepare(sae, x, rows, *owned);
    return *owned;
}

int sae_pre(const struct sae *sae, struct threads *threads, const float *x, size_t rows, float *out,
            struct status *st)
{
    size_t d_sae = sae->source->d_sae;
    float *owned;
    const float *sae_in = prepared(sae, x, rows, &owned, st);
    if (!sae_in) {
        return (int)st->code;
    }
    /* The same chunks and panels as in sae_encode, so that both give the same bits. */
    for (size_t row = 0; row < rows; row += CHUNK) {
        size_t n = rows - row < CHUNK ? rows - row : CHUNK;
        for (size_t first = 0; first < d_sae; first += PANEL) {
            size_t columns = d_sae - first < PANEL ? d_sae - first : PANEL;
            float *y = out + row * d_sae + first;
            fill_panel(sae, threads, sae_in + row * sae->source->d_in, n, first, columns, y, d_sae);
            for (size_t r = 0; r < n && sae->config.architecture == SAE_GATED; r++) {
                for (size_t c = 0; c < columns; c++) {
                    y[r * d_sae + c] =
                        y[r * d_sae + c] * sae->mag_scale[first + c] + sae->b_mag[first + c];
                }
            }
        }
    }
    memory_free(owned);
    return STATUS_OK;
}

static int by_index(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The k best by rising index. Features and values trade places as 8-byte pairs. */
static int sort_best(struct active *a, struct status *st)
{
    struct pair {
        uint32_t index;
        float value;
    } *pairs = memory_alloc(a->n, sizeof *pairs);
    if (!pairs) {
        return status_no_memory(st, a->n * sizeof *pairs);
    }
    for (size_t i = 0; i < a->n; i++) {
        pairs[i] = (struct pair){a->index[i], a->value[i]};
    }
    if (a->n) {
        qsort(pairs, a->n, sizeof *pairs, by_index); /* index is the first member */
    }
    for (size_t i = 0; i < a->n; i++) {
        a->index[i] = pairs[i].index;
        a->value[i] = pairs[i].value;
    }
    memory_free(pairs);
    return STATUS_OK;
}

/* One row is complete: to *features, scaled where the SAE says so. */
static int finish_row(const struct sae *sae, struct active *a, struct sparse *features,
                      struct status *st)
{
    if (a->failed) {
        return status_no_memory(st, 2 * a->capacity * sizeof(float));
    }
    if (sae->config.architecture == SAE_TOPK && sort_best(a, st)) {
        return (int)st->code;
    }
    if (sae->feature_scale) {
        size_t kept = 0;
        for (size_t i = 0; i < a->n; i++) {
            float value = a->value[i] * sae->feature_scale[a->index[i]];
            if (value != 0.0f) {
                a->index[kept] = a->index[i];
                a->value[kept++] = value;
            }
        }
        a->n = kept;
    }
    sparse_append(features, a->index, a->value, a->n);
    int code = features->failed ? status_no_memory(st, 2 * a->n * sizeof(float)) : STATUS_OK;
    a->n = 0;
    return code;
}

int sae_encode(const struct sae *sae, struct threads *threads, const float *x, size_t rows,
               struct sparse *features, struct status *st)
{
    size_t d_sae = sae->source->d_sae;
    size_t most = rows < CHUNK ? rows : CHUNK;
    float *owned = NULL;
    float *panel = memory_aligned(most * PANEL, sizeof *panel);
    struct encoding e = {.sae = sae, .panel = panel};
    e.rows = memory_zalloc(most, sizeof *e.rows);
    const float *sae_in = prepared(sae, x, rows, &owned, st);
    int code = STATUS_OK;
    if (!panel || !e.rows || !sae_in) {
        code = status_no_memory(st, most * PANEL * sizeof *panel);
        goto done;
    }
    for (size_t row = 0; row < rows && !code; row += CHUNK) {
        size_t n = rows - row < CHUNK ? rows - row : CHUNK;
        for (e.first = 0; e.first < d_sae; e.first += PANEL) {
            e.columns = d_sae - e.first < PANEL ? d_sae - e.first : PANEL;
            fill_panel(sae, threads, sae_in + row * sae->source->d_in, n, e.first, e.columns, panel,
                       PANEL);
            threads_run(threads, n, scan_row, &e);
        }
        for (size_t r = 0; r < n && !code; r++) {
            code = finish_row(sae, &e.rows[r], features, st);
        }
    }
done:
    for (size_t r = 0; e.rows && r < most; r++) {
        memory_free(e.rows[r].index);
        memory_free(e.rows[r].value);
    }
    memory_free(e.rows);
    memory_free(panel);
    memory_free(owned);
    return code;
}
