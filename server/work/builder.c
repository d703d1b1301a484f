#include "server/work/builder.h"

#include "core/base/memory.h"
#include "core/dashboard/dashboard.h"
#include "core/dashboard/label.h"
#include "server/store/corpora.h"
#include "server/store/dashboards.h"
#include "server/store/documents.h"
#include "server/work/spool.h"

#include <stdlib.h>
#include <string.h>

enum { EXAMPLES = DASHBOARD_TOP + DASHBOARD_INTERVALS * DASHBOARD_SAMPLES, TRIES = 3 };

/* One feature's values along one text: that several examples share them is common. */
struct want {
    int64_t text;
    uint32_t feature;
    uint32_t n_tokens;
    uint32_t n;  /* values above 0 */
    uint64_t at; /* in the spool: n of struct value */
};

struct value {
    uint32_t position;
    float value;
};

struct example_record {
    struct store_example example; /* along left out */
    uint64_t at;
    uint32_t n;
};

struct feature_record {
    struct store_feature feature; /* label left out */
    size_t label, n_examples;     /* what follows: label bytes, example records */
};

struct build {
    const struct builder *b;
    const struct sae_source *source;
    int64_t row;
    int32_t ignored[ENGINE_UNCOUNTED];
    size_t n_ignored;
    struct spool *alongs, *records;
    uint32_t *counts; /* [d_sae] */
    float *maxima;
    int64_t documents, tokens, context;
    /* of the chunk */
    struct dashboard *dashboard;
    struct dashboard_place *places;
    size_t places_capacity;
    struct want *wants;
    size_t n_wants;
    struct want *text_wants; /* those of the text that is visited */
    size_t n_text_wants;
    struct value *values;
    size_t values_capacity;
};

static int check_abandoned(const struct build *w, struct status *st)
{
    return w->b->abandon && atomic_load(w->b->abandon)
               ? status_set(st, STATUS_CANCELLED, "the dashboard of %s was not finished",
                            w->source->name)
               : STATUS_OK;
}

/* --- counting --------------------------------------------------------------------------------- */

static int count_text(void *user, const struct store_visit *v, struct status *st)
{
    struct build *w = user;
    int code = check_abandoned(w, st);
    if (code) {
        return code;
    }
    if (v->n_places > w->places_capacity) {
        struct dashboard_place *grown = memory_resize(w->places, v->n_places, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, v->n_places * sizeof *grown);
        }
        w->places = grown;
        w->places_capacity = v->n_places;
    }
    for (size_t i = 0; i < v->n_places; i++) {
        w->places[i] = (struct dashboard_place){v->places[i].corpus, v->places[i].number};
    }
    dashboard_add(w->dashboard, &(struct dashboard_text){.text = v->text,
                                                         .ids = v->ids,
                                                         .n = v->n,
                                                         .places = w->places,
                                                         .n_places = v->n_places,
                                                         .rows = v->rows});
    return STATUS_OK;
}

static int count_chunk(struct build *w, size_t first, size_t n, struct status *st)
{
    const struct dashboard_options options = {.first = (uint32_t)first,
                                              .n = n,
                                              .seed = (uint64_t)w->b->seed,
                                              .ignored = w->ignored,
                                              .n_ignored = w->n_ignored};
    int code = dashboard_create(&w->dashboard, &options, st);
    if (!code) {
        code = store_visit_indexed(w->b->store, w->row, count_text, w, st);
    }
    if (!code) {
        dashboard_turn(w->dashboard);
        code = store_visit_indexed(w->b->store, w->row, count_text, w, st);
    }
    return code ? code : dashboard_finish(w->dashboard, st);
}

/* All chunks must have seen the same texts. */
static int compare_totals(struct build *w, size_t first, struct status *st)
{
    int64_t documents = dashboard_documents(w->dashboard), tokens = dashboard_tokens(w->dashboard);
    if (first == 0) {
        w->documents = documents;
        w->tokens = tokens;
        w->context = dashboard_context(w->dashboard);
    } else if (documents != w->documents || tokens != w->tokens) {
        return status_set(st, STATUS_BUSY, "the indexed texts changed while %s was counted",
                          w->source->name);
    }
    return STATUS_OK;
}

/* --- values along the texts of the examples --------------------------------------------------- */

static int compare_wants(const void *a, const void *b)
{
    const struct want *x = a, *y = b;
    if (x->text != y->text) {
        return x->text < y->text ? -1 : 1;
    }
    return (x->feature > y->feature) - (x->feature < y->feature);
}

static void add_wants(struct build *w, uint32_t feature, const struct dashboard_example *e,
                      size_t n)
{
    for (size_t i = 0; i < n; i++) {
        w->wants[w->n_wants++] = (struct want){.text = e[i].text, .feature = feature};
    }
}

static int collect_wants(struct build *w, size_t first, size_t n, struct status *st)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        most += dashboard_feature(w->dashboard, i)->count ? EXAMPLES : 0;
    }
    w->n_wants = 0;
    w->wants = memory_alloc(most, sizeof *w->wants);
    if (!w->wants) {
        return status_no_memory(st, most * sizeof *w->wants);
    }
    for (size_t i = 0; i < n; i++) {
        const struct dashboard_feature *f = dashboard_feature(w->dashboard, i);
        uint32_t feature = (uint32_t)(first + i);
        add_wants(w, feature, f->top, f->n_top);
        for (int k = 0; k < DASHBOARD_INTERVALS; k++) {
            add_wants(w, feature, f->samples[k], f->n_samples[k]);
        }
    }
    qsort(w->wants, w->n_wants, sizeof *w->wants, compare_wants);
    size_t kept = 0;
    for (size_t i = 0; i < w->n_wants; i++) {
        if (kept == 0 || compare_wants(&w->wants[kept - 1], &w->wants[i]) != 0) {
            w->wants[kept++] = w->wants[i];
        }
    }
    w->n_wants = kept;
    return STATUS_OK;
}

static int gather_text(void *user, const struct store_visit *v, struct status *st)
{
    struct build *w = user;
    if (v->n > w->values_capacity) {
        struct value *grown = memory_resize(w->values, v->n, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, v->n * sizeof *grown);
        }
        w->values = grown;
        w->values_capacity = v->n;
    }
    for (size_t i = 0; i < w->n_text_wants; i++) {
        struct want *want = &w->text_wants[i];
        want->n_tokens = (uint32_t)v->n;
        want->n = 0;
        for (size_t p = 0; p < v->n; p++) {
            float value = sparse_get(v->rows, p, want->feature);
            if (value > 0.0f) {
                w->values[want->n++] = (struct value){(uint32_t)p, value};
            }
        }
        int code = spool_append(w->alongs, w->values, want->n * sizeof *w->values, &want->at, st);
        if (code) {
            return code;
        }
    }
    return check_abandoned(w, st);
}

static int gather(struct build *w, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0, end = 0; i < w->n_wants && !code; i = end) {
        bool found;
        while (end < w->n_wants && w->wants[end].text == w->wants[i].text) {
            end++;
        }
        w->text_wants = w->wants + i;
        w->n_text_wants = end - i;
        code = store_visit_text(w->b->store, w->row, w->wants[i].text, gather_text, w, &found, st);
        if (!code && !found) {
            code = status_set(st, STATUS_BUSY, "the indexed texts changed while %s was counted",
                              w->source->name);
        }
    }
    return code;
}

/* --- records ---------------------------------------------------------------------------------- */

static struct store_histogram histogram(const struct histogram *h)
{
    struct store_histogram s = {.n_bins = h->n_bins, .low = h->low, .high = h->high};
    _Static_assert(sizeof s.count == sizeof h->count, "both have 50 bins");
    memcpy(s.count, h->count, sizeof s.count);
    return s;
}

static struct example_record example_record(const struct build *w, uint32_t feature, int part,
                                            size_t place, const struct dashboard_example *e)
{
    const struct want key = {.text = e->text, .feature = feature};
    const struct want *want = bsearch(&key, w->wants, w->n_wants, sizeof *w->wants, compare_wants);
    return (struct example_record){.example = {.part = part,
                                               .place = (int)place,
                                               .text = e->text,
                                               .corpus = e->place.corpus,
                                               .document = e->place.document,
                                               .position = e->position,
                                               .value = e->value,
                                               .bin_min = -1.0f,
                                               .bin_max = -1.0f,
                                               .bin_contains = -1.0,
                                               .n_tokens = want ? want->n_tokens : 0},
                                   .at = want ? want->at : 0,
                                   .n = want ? want->n : 0};
}

/* The top ones as part 0, then the intervals from the highest down as parts 1 .. 5. */
static size_t example_records(const struct build *w, uint32_t feature,
                              const struct dashboard_feature *f,
                              struct example_record records[EXAMPLES])
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_top; i++) {
        records[n] = example_record(w, feature, 0, i, &f->top[i]);
        records[n++].example.bin_max = f->maximum;
    }
    for (int k = DASHBOARD_INTERVALS - 1; k >= 0; k--) {
        for (size_t i = 0; i < f->n_samples[k]; i++) {
            records[n] = example_record(w, feature, DASHBOARD_INTERVALS - k, i, &f->samples[k][i]);
            struct store_example *e = &records[n++].example;
            e->bin_min = (float)dashboard_edge(f, k);
            e->bin_max = (float)dashboard_edge(f, k + 1);
            e->bin_contains = dashboard_share(w->dashboard, f, k);
        }
    }
    return n;
}

static void token_text(void *user, int32_t id, struct text *out)
{
    engine_token_text(user, id, out);
}

static int write_record(struct build *w, uint32_t index, const struct engine_logits *logits,
                        size_t i, struct text *label, struct status *st)
{
    const struct dashboard_feature *f = dashboard_feature(w->dashboard, i);
    struct example_record examples[EXAMPLES];
    struct feature_record r = {.feature = {.index = index,
                                           .count = f->count,
                                           .maximum = f->maximum,
                                           .activations = histogram(&f->histogram),
                                           .has_logits = logits != NULL}};
    int32_t fired[DASHBOARD_TOP];
    for (size_t t = 0; t < f->n_top; t++) {
        fired[t] = f->top[t].token;
    }
    if (logits) {
        _Static_assert(sizeof logits->top_ids == sizeof r.feature.positive_ids, "both have 10");
        memcpy(r.feature.positive_ids, logits->top_ids, sizeof logits->top_ids);
        memcpy(r.feature.negative_ids, logits->bottom_ids, sizeof logits->bottom_ids);
        memcpy(r.feature.positive, logits->top, sizeof logits->top);
        memcpy(r.feature.negative, logits->bottom, sizeof logits->bottom);
        r.feature.logits = histogram(&logits->histogram);
    }
    text_clear(label);
    label_write(label, fired, f->n_top, logits ? logits->top_ids : NULL, logits ? ENGINE_LOGITS : 0,
                token_text, w->b->engine);
    if (label->failed) {
        return status_no_memory(st, 256);
    }
    r.label = label->length;
    r.n_examples = example_records(w, index, f, examples);
    w->counts[index] = f->count > (int64_t)UINT32_MAX ? UINT32_MAX : (uint32_t)f->count;
    w->maxima[index] = f->maximum;
    uint64_t at;
    int code = spool_append(w->records, &r, sizeof r, &at, st);
    code = code ? code : spool_append(w->records, label->data, r.label, &at, st);
    return code ? code
                : spool_append(w->records, examples, r.n_examples * sizeof *examples, &at, st);
}

static int write_records(struct build *w, size_t first, size_t n, struct status *st)
{
    struct engine_logits *logits = memory_zalloc(ENGINE_LOGITS_STEP, sizeof *logits);
    struct text label = {0};
    int code = logits ? STATUS_OK : status_no_memory(st, ENGINE_LOGITS_STEP * sizeof *logits);
    for (size_t at = 0; at < n && !code; at += ENGINE_LOGITS_STEP) {
        size_t block = n - at < ENGINE_LOGITS_STEP ? n - at : ENGINE_LOGITS_STEP;
        bool known;
        code = engine_feature_logits(w->b->engine, w->source->name, first + at, block, logits,
                                     &known, w->b->abandon, st);
        for (size_t i = 0; i < block && !code; i++) {
            code = write_record(w, (uint32_t)(first + at + i), known ? &logits[i] : NULL, at + i,
                                &label, st);
        }
        if (w->b->progress && !code) {
            w->b->progress(w->b->user, w->source->name, first + at + block, w->source->d_sae);
        }
    }
    text_free(&label);
    memory_free(logits);
    return code;
}

/* --- into the database ------------------------------------------------------------------------ */

static int read_examples(struct build *w, const struct feature_record *r, uint64_t at,
                         struct store_example examples[EXAMPLES], float *along, struct status *st)
{
    struct example_record records[EXAMPLES];
    int code = spool_read(w->records, at, records, r->n_examples * sizeof *records, st);
    for (size_t i = 0; i < r->n_examples && !code; i++) {
        float *values = along + i * (size_t)w->context;
        memset(values, 0, (size_t)w->context * sizeof *values);
        code =
            spool_read(w->alongs, records[i].at, w->values, records[i].n * sizeof *w->values, st);
        for (size_t v = 0; v < records[i].n && !code; v++) {
            values[w->values[v].position] = w->values[v].value;
        }
        examples[i] = records[i].example;
        examples[i].along = values;
    }
    return code;
}

static int put_features(struct build *w, struct store_dashboard_writer *writer, struct status *st)
{
    struct store_example examples[EXAMPLES];
    struct text label = {0};
    float *along = memory_alloc((size_t)w->context * EXAMPLES, sizeof *along);
    int code = along ? STATUS_OK : status_no_memory(st, (size_t)w->context * EXAMPLES);
    for (uint64_t at = 0; at < spool_size(w->records) && !code;) {
        struct feature_record r;
        code = spool_read(w->records, at, &r, sizeof r, st);
        at += sizeof r;
        text_clear(&label);
        if (!code && !text_reserve(&label, r.label + 1)) {
            code = status_no_memory(st, r.label);
        }
        if (!code) {
            code = spool_read(w->records, at, label.data, r.label, st);
            label.data[r.label] = '\0';
            r.feature.label = label.data;
            at += r.label;
        }
        code = code ? code : read_examples(w, &r, at, examples, along, st);
        at += r.n_examples * sizeof(struct example_record);
        code = code ? code : store_dashboard_put(writer, &r.feature, examples, r.n_examples, st);
        code = code ? code : check_abandoned(w, st);
    }
    text_free(&label);
    memory_free(along);
    return code;
}

static int put(struct build *w, struct status *st)
{
    struct text names = {0};
    struct store_dashboard_writer *writer = NULL;
    int code = corpora_names(w->b->store, w->row, &names, st);
    if (!code) {
        const struct store_dashboard dashboard = {.documents = w->documents,
                                                  .tokens = w->tokens,
                                                  .context = w->context,
                                                  .corpora = names.data,
                                                  .seed = w->b->seed,
                                                  .counts = w->counts,
                                                  .maxima = w->maxima,
                                                  .d_sae = w->source->d_sae};
        code = store_dashboard_begin(w->b->store, w->row, &dashboard, &writer, st);
    }
    text_free(&names);
    if (code) {
        return code;
    }
    code = put_features(w, writer, st);
    if (code) {
        store_dashboard_abandon(writer);
        return code;
    }
    return store_dashboard_end(writer, st);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void free_chunk(struct build *w)
{
    dashboard_destroy(w->dashboard);
    memory_free(w->wants);
    w->dashboard = NULL;
    w->wants = NULL;
}

static int build_all(struct build *w, struct status *st)
{
    size_t d_sae = w->source->d_sae;
    /* Of the budget, a good third is for what is wanted along the texts. */
    uint64_t memory = w->b->memory ? w->b->memory : BUILDER_MEMORY;
    size_t chunk = dashboard_chunk(
        memory / (sizeof(struct dashboard_feature) + EXAMPLES * sizeof(struct want)) *
        sizeof(struct dashboard_feature));
    w->counts = memory_zalloc(d_sae, sizeof *w->counts);
    w->maxima = memory_zalloc(d_sae, sizeof *w->maxima);
    if (!w->counts || !w->maxima) {
        return status_no_memory(st, d_sae * sizeof *w->maxima);
    }
    int code = spool_open(&w->alongs, st);
    code = code ? code : spool_open(&w->records, st);
    for (size_t first = 0; first < d_sae && !code; first += chunk) {
        size_t n = d_sae - first < chunk ? d_sae - first : chunk;
        (void)((code = count_chunk(w, first, n, st)) || (code = compare_totals(w, first, st)));
        if (!code && w->documents == 0) {
            return STATUS_OK;
        }
        (void)(code || (code = collect_wants(w, first, n, st)) || (code = gather(w, st)) ||
               (code = write_records(w, first, n, st)));
        free_chunk(w);
    }
    return code ? code : put(w, st);
}

int builder_run(const struct builder *b, const char *name, struct status *st)
{
    int code = STATUS_BUSY;
    for (int i = 0; i < TRIES && code == STATUS_BUSY; i++) {
        struct build w = {.b = b, .source = catalogue_find(engine_catalogue(b->engine), name)};
        code = sources_row(b->sources, name, &w.row, st);
        if (!code) {
            w.n_ignored = engine_uncounted(b->engine, w.ignored);
            code = build_all(&w, st);
        }
        free_chunk(&w);
        spool_close(w.alongs);
        spool_close(w.records);
        memory_free(w.places);
        memory_free(w.values);
        memory_free(w.counts);
        memory_free(w.maxima);
    }
    return code;
}
