#include "server/work/neuron_builder.h"

#include "core/base/memory.h"
#include "core/dashboard/neurons.h"
#include "server/store/corpora.h"
#include "server/store/dashboards.h"
#include "server/store/neuron_counts.h"
#include "server/work/builder_private.h"

#include <stdlib.h>
#include <string.h>

enum { EXAMPLES = 2 * DASHBOARD_TOP + DASHBOARD_INTERVALS * DASHBOARD_SAMPLES };

struct neuron_build {
    const struct builder *b;
    const struct sae_source *source;
    int64_t row, tokens;
    struct neuron_document *documents; /* [n_documents] by corpus and number */
    size_t n_documents, capacity, context;
    uint32_t *counts; /* [d_sae] */
    float *maxima;
    size_t n_seen; /* neurons */
    struct store_dashboard_writer *writer;
    struct store_feature logits[ENGINE_LOGITS_STEP]; /* of the block in work */
    bool known;
    struct neuron neuron; /* the one in work */
    struct store_example examples[EXAMPLES];
    size_t n_examples;
    float *along; /* [EXAMPLES, context] */
    struct text label;
};

static int check(const struct neuron_build *w, struct status *st)
{
    return w->b->abandon && atomic_load(w->b->abandon)
               ? status_set(st, STATUS_CANCELLED, "the dashboard of %s was not finished",
                            w->source->name)
               : STATUS_OK;
}

static int damaged(const struct neuron_build *w, uint32_t number, struct status *st)
{
    return status_set(st, STATUS_CORRUPT,
                      "what was counted of neuron %u of %s is damaged: index it into another "
                      "database",
                      (unsigned)number, w->source->name);
}

/* --- what is there ---------------------------------------------------------------------------- */

static int add_document(void *user, const struct neuron_document *d, struct status *st)
{
    struct neuron_build *w = user;
    if (w->n_documents == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 256;
        struct neuron_document *grown = memory_resize(w->documents, capacity, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, capacity * sizeof *grown);
        }
        w->documents = grown;
        w->capacity = capacity;
    }
    w->documents[w->n_documents++] = *d;
    w->context = d->n_tokens > w->context ? d->n_tokens : w->context;
    return STATUS_OK;
}

/* Neurons come by number, all of them. */
static int read_neuron(struct neuron_build *w, uint32_t number, const void *bytes, size_t n,
                       struct status *st)
{
    if (number != w->n_seen || number >= w->source->d_sae ||
        !neurons_decode(&w->neuron, bytes, n)) {
        return damaged(w, number, st);
    }
    w->n_seen++;
    return STATUS_OK;
}

static int note_extremes(void *user, uint32_t number, const void *bytes, size_t n,
                         struct status *st)
{
    struct neuron_build *w = user;
    int code = read_neuron(w, number, bytes, n, st);
    if (!code) {
        int64_t count = w->neuron.count;
        w->counts[number] = count > (int64_t)UINT32_MAX ? UINT32_MAX : (uint32_t)count;
        w->maxima[number] = w->neuron.maximum;
    }
    return code;
}

/* --- one neuron ------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct neuron_document *x = a, *y = b;
    return x->corpus != y->corpus ? (x->corpus > y->corpus) - (x->corpus < y->corpus)
                                  : (x->number > y->number) - (x->number < y->number);
}

static int add_example(struct neuron_build *w, int part, size_t place,
                       const struct neuron_example *e, struct status *st)
{
    const struct neuron_document key = {.corpus = e->place.corpus, .number = e->place.document};
    const struct neuron_document *d =
        bsearch(&key, w->documents, w->n_documents, sizeof *w->documents, by_place);
    if (!d || (size_t)e->first + e->n_along > d->n_tokens) {
        return damaged(w, (uint32_t)w->n_seen - 1, st);
    }
    float *along = w->along + w->n_examples * w->context;
    memset(along, 0, d->n_tokens * sizeof *along);
    memcpy(along + e->first, e->along, e->n_along * sizeof *along);
    w->examples[w->n_examples++] = (struct store_example){.part = part,
                                                          .place = (int)place,
                                                          .text = d->text,
                                                          .corpus = d->corpus,
                                                          .document = d->number,
                                                          .position = e->position,
                                                          .value = e->value,
                                                          .bin_min = -1.0f,
                                                          .bin_max = -1.0f,
                                                          .bin_contains = -1.0,
                                                          .along = along,
                                                          .n_tokens = d->n_tokens};
    return STATUS_OK;
}

static int add_interval(struct neuron_build *w, int k, struct status *st)
{
    struct neurons_interval interval;
    int code = STATUS_OK;
    neurons_interval(&w->neuron, k, &interval);
    for (size_t i = 0; i < interval.n && !code; i++) {
        code = add_example(w, DASHBOARD_INTERVALS - k, i, &interval.samples[i], st);
        if (!code) {
            struct store_example *e = &w->examples[w->n_examples - 1];
            e->bin_min = (float)interval.low;
            e->bin_max = (float)interval.high;
            e->bin_contains = (double)interval.count / (double)w->tokens;
        }
    }
    return code;
}

static int add_examples(struct neuron_build *w, struct status *st)
{
    const struct neuron *n = &w->neuron;
    int code = STATUS_OK;
    w->n_examples = 0;
    for (size_t i = 0; i < n->n_top && !code; i++) {
        code = add_example(w, 0, i, &n->top[i], st);
        w->examples[i].bin_max = n->maximum;
    }
    for (int k = DASHBOARD_INTERVALS - 1; k >= 0 && !code; k--) {
        code = add_interval(w, k, st);
    }
    for (size_t i = 0; i < n->n_bottom && !code; i++) {
        code = add_example(w, DASHBOARD_LOWEST, i, &n->bottom[i], st);
        if (!code) {
            w->examples[w->n_examples - 1].bin_min = n->minimum;
        }
    }
    return code;
}

/* The logits of the block that begins with this neuron. */
static int read_block(struct neuron_build *w, size_t first, struct status *st)
{
    size_t left = w->source->d_sae - first;
    size_t n = left < ENGINE_LOGITS_STEP ? left : ENGINE_LOGITS_STEP;
    int code = builder_logits(w->b, w->source, w->row, first, n, w->logits, &w->known, st);
    if (w->b->progress && !code) {
        w->b->progress(w->b->user, w->source->name, first + n, w->source->d_sae);
    }
    return code ? code : check(w, st);
}

static int put_neuron(void *user, uint32_t number, const void *bytes, size_t n, struct status *st)
{
    struct neuron_build *w = user;
    int code = read_neuron(w, number, bytes, n, st);
    if (!code && number % ENGINE_LOGITS_STEP == 0) {
        code = read_block(w, number, st);
    }
    if (code) {
        return code;
    }
    const struct store_feature *logits = w->known ? &w->logits[number % ENGINE_LOGITS_STEP] : NULL;
    struct store_feature f = logits ? *logits : (struct store_feature){0};
    struct histogram bins;
    int32_t fired[DASHBOARD_TOP];
    neurons_histogram(&w->neuron, &bins);
    for (size_t i = 0; i < w->neuron.n_top; i++) {
        fired[i] = w->neuron.top[i].token;
    }
    f.index = number;
    f.count = w->neuron.count;
    f.maximum = w->neuron.maximum;
    f.activations = builder_histogram(&bins);
    if ((code = builder_label(w->b, fired, w->neuron.n_top, logits, &w->label, st)) ||
        (code = add_examples(w, st))) {
        return code;
    }
    f.label = w->label.length ? w->label.data : "";
    return store_dashboard_put(w->writer, &f, w->examples, w->n_examples, st);
}

/* --- the whole -------------------------------------------------------------------------------- */

static int put_all(struct neuron_build *w, const char *corpora, struct status *st)
{
    const struct store_dashboard dashboard = {.documents = (int64_t)w->n_documents,
                                              .tokens = w->tokens,
                                              .context = (int64_t)w->context,
                                              .corpora = corpora,
                                              .counts = w->counts,
                                              .maxima = w->maxima,
                                              .d_sae = w->source->d_sae};
    int code = store_dashboard_begin(w->b->store, w->row, &dashboard, &w->writer, st);
    if (code) {
        return code;
    }
    w->n_seen = 0;
    code = neuron_counts_visit(w->b->store, w->row, put_neuron, w, st);
    if (code) {
        store_dashboard_abandon(w->writer);
        return code;
    }
    return store_dashboard_end(w->writer, st);
}

static int build(struct neuron_build *w, struct status *st)
{
    struct text corpora = {0};
    size_t d = w->source->d_sae;
    int code = sources_row(w->b->sources, w->source->name, &w->row, st);
    code = code ? code : neuron_counts_documents(w->b->store, w->row, add_document, w, st);
    code = code ? code : neuron_counts_tokens(w->b->store, w->row, &w->tokens, st);
    if (code || w->n_documents == 0) {
        return code;
    }
    w->counts = memory_zalloc(d, sizeof *w->counts);
    w->maxima = memory_zalloc(d, sizeof *w->maxima);
    w->along = memory_alloc(EXAMPLES * w->context, sizeof *w->along);
    if (!w->counts || !w->maxima || !w->along) {
        return status_no_memory(st, EXAMPLES * w->context * sizeof *w->along);
    }
    code = neuron_counts_visit(w->b->store, w->row, note_extremes, w, st);
    if (!code && w->n_seen != d) {
        code = damaged(w, (uint32_t)w->n_seen, st);
    }
    code = code ? code : corpora_names(w->b->store, w->row, &corpora, st);
    code = code ? code : put_all(w, corpora.data, st);
    text_free(&corpora);
    return code;
}

int neuron_builder_run(const struct builder *b, const char *name, struct status *st)
{
    struct neuron_build *w = memory_zalloc(1, sizeof *w);
    if (!w) {
        return status_no_memory(st, sizeof *w);
    }
    w->b = b;
    w->source = catalogue_find(engine_catalogue(b->engine), name);
    int code = build(w, st);
    memory_free(w->documents);
    memory_free(w->counts);
    memory_free(w->maxima);
    memory_free(w->along);
    text_free(&w->label);
    memory_free(w);
    return code;
}
