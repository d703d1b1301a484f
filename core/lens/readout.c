#include "core/lens/readout.h"

#include "core/base/memory.h"
#include "core/math/kernels.h"
#include "core/math/top.h"

#include <math.h>
#include <string.h>

struct readout {
    const struct weights *weights;
    struct threads *threads;
    size_t room;  /* rows of logits */
    float *pages; /* [room, V] */
    size_t bytes;
    float *probs;        /* [workers, V] */
    float *normed;       /* [room, D] */
    float *own;          /* [n_own, V] what the model itself says: probabilities */
    int32_t *first;      /* [n_own] its likeliest token */
    double *own_entropy; /* [n_own] negative: sum q log q */
    size_t n_own;

    /* The run: */
    const struct readout_options *options;
    size_t rows_each;
    size_t at; /* which of all rows the first one in `pages` is */
    struct readout_row *rows;
};

int readout_create(struct readout **out, const struct weights *w, struct threads *threads,
                   struct status *st)
{
    size_t V = w->config->vocab_size, D = w->config->hidden_size;
    struct readout *r = memory_zalloc(1, sizeof *r);
    *out = r;
    if (!r) {
        return status_no_memory(st, sizeof *r);
    }
    r->weights = w;
    r->threads = threads;
    r->room = READOUT_BYTES / sizeof(float) / V;
    r->room = r->room < 1 ? 1 : r->room < 1024 ? r->room : 1024;
    r->bytes = r->room * V * sizeof(float);
    r->pages = memory_pages(r->bytes);
    r->probs = memory_aligned((size_t)threads_count(threads) * V, sizeof *r->probs);
    r->normed = memory_aligned(r->room * D, sizeof *r->normed);
    if (!r->pages || !r->probs || !r->normed) {
        readout_destroy(r);
        *out = NULL;
        return status_no_memory(st, READOUT_BYTES);
    }
    return STATUS_OK;
}

void readout_destroy(struct readout *r)
{
    if (r) {
        memory_free_pages(r->pages, r->pages ? r->bytes : 0);
        memory_free(r->probs);
        memory_free(r->normed);
        memory_free(r->own);
        memory_free(r->first);
        memory_free(r->own_entropy);
        memory_free(r);
    }
}

size_t readout_positions(const struct readout *r, size_t rows_each)
{
    return rows_each < r->room ? r->room / rows_each : 1;
}

/* --- one row ---------------------------------------------------------------------------------- */

/* The likeliest, taken from a copy in which all others are no numbers. */
static void keep_top(const struct readout *r, const float *logits, float *copy, int32_t first,
                     struct readout_row *row)
{
    const struct readout_options *o = r->options;
    size_t V = r->weights->config->vocab_size;
    const float *from = logits;
    if (o->words) {
        for (size_t v = 0; v < V; v++) {
            bool word = o->words[v / 64] >> (v % 64) & 1;
            bool kept = word || (row->keeps_first && (int32_t)v == first);
            copy[v] = kept ? logits[v] : NAN;
        }
        from = copy;
    }
    row->n_top = top_pick(from, V, o->top_n, row->top_ids, row->top_logits);
}

static void track(const struct readout_options *o, const float *logits, size_t V, double total,
                  struct readout_row *row)
{
    for (size_t k = 0; k < o->n_track; k++) {
        size_t id = (size_t)o->track[k];
        float mine = logits[id];
        int32_t before = 0;
        for (size_t v = 0; v < V; v++) {
            before += logits[v] > mine || (v < id && logits[v] == mine);
        }
        row->ranks[k] = before + 1;
        row->logits[k] = mine;
        row->probs[k] = (float)exp((double)mine - total);
    }
}

static void read_row(void *argument, size_t i, int worker)
{
    struct readout *r = argument;
    const struct readout_options *o = r->options;
    size_t V = r->weights->config->vocab_size;
    size_t position = (r->at + i) / r->rows_each;
    struct readout_row *row = &r->rows[r->at + i];
    float *logits = r->pages + i * V, *p = r->probs + (size_t)worker * V;
    const float *q = r->own + position * V;
    if (o->softcap) {
        kernel_softcap(logits, V, r->weights->config->final_softcap);
    }
    double total = kernel_logsumexp(logits, V);
    memcpy(p, logits, V * sizeof *p);
    kernel_softmax(p, V);
    double entropy = 0.0, cross = 0.0;
    for (size_t v = 0; v < V; v++) {
        double log_p = (double)logits[v] - total;
        entropy -= (double)p[v] * log_p;
        cross += (double)q[v] * log_p;
    }
    row->entropy = (float)entropy;
    row->kl = (float)(r->own_entropy[position] - cross);
    keep_top(r, logits, p, r->first[position], row);
    for (size_t k = 0; k < row->n_top; k++) {
        row->top_probs[k] = (float)exp((double)row->top_logits[k] - total);
    }
    track(o, logits, V, total, row);
}

/* What the model itself says at one position. */
static void read_own(void *argument, size_t i, int worker)
{
    (void)worker;
    struct readout *r = argument;
    size_t V = r->weights->config->vocab_size, position = r->at + i, first = 0;
    float *logits = r->pages + i * V, *q = r->own + position * V;
    kernel_softcap(logits, V, r->weights->config->final_softcap);
    double total = kernel_logsumexp(logits, V), sum = 0.0;
    memcpy(q, logits, V * sizeof *q);
    kernel_softmax(q, V);
    for (size_t v = 0; v < V; v++) {
        sum += (double)q[v] * ((double)logits[v] - total);
        first = logits[v] > logits[first] ? v : first;
    }
    r->own_entropy[position] = sum;
    r->first[position] = (int32_t)first;
}

/* --- all rows --------------------------------------------------------------------------------- */

static int reserve_own(struct readout *r, size_t positions, struct status *st)
{
    size_t V = r->weights->config->vocab_size;
    if (positions <= r->n_own) {
        return STATUS_OK;
    }
    memory_free(r->own);
    memory_free(r->first);
    memory_free(r->own_entropy);
    r->own = memory_aligned(positions * V, sizeof *r->own);
    r->first = memory_alloc(positions, sizeof *r->first);
    r->own_entropy = memory_alloc(positions, sizeof *r->own_entropy);
    r->n_own = r->own && r->first && r->own_entropy ? positions : 0;
    return r->n_own ? STATUS_OK : status_no_memory(st, positions * V * sizeof *r->own);
}

int readout_run(struct readout *r, const struct readout_options *options, const float *last,
                const float *x, size_t positions, size_t rows_each, struct readout_row *rows,
                struct status *st)
{
    const struct weights *w = r->weights;
    size_t D = w->config->hidden_size, all = positions * rows_each;
    int code = reserve_own(r, positions, st);
    if (code) {
        return code;
    }
    r->options = options;
    r->rows_each = rows_each;
    r->rows = rows;
    for (r->at = 0; r->at < positions; r->at += r->room) {
        size_t n = positions - r->at < r->room ? positions - r->at : r->room;
        kernel_matmul_as(r->threads, w->precision, last + r->at * D, n, &w->unembedding, r->pages);
        threads_run(r->threads, n, read_own, r);
    }
    for (r->at = 0; r->at < all; r->at += r->room) {
        size_t n = all - r->at < r->room ? all - r->at : r->room;
        const float *from = x + r->at * D;
        if (options->norm) {
            kernel_rmsnorm(r->threads, from, n, D, w->final_gain, w->config->rms_norm_eps,
                           r->normed);
            from = r->normed;
        }
        kernel_matmul_as(r->threads, w->precision, from, n, &w->unembedding, r->pages);
        threads_run(r->threads, n, read_row, r);
    }
    return STATUS_OK;
}
