/* What was found out about features: kept in a temporary file, then put into the database. */
#include "core/base/memory.h"
#include "server/store/corpora.h"
#include "server/store/dashboards.h"
#include "server/work/builder_private.h"

#include <stdlib.h>
#include <string.h>

struct example_record {
    struct store_example example; /* along left out */
    uint64_t at;
    uint32_t n;
};

struct feature_record {
    struct store_feature feature; /* label left out */
    size_t label, n_examples;     /* what follows: label bytes, example records */
};

/* --- records ---------------------------------------------------------------------------------- */

static struct example_record example_record(const struct build *w, uint32_t feature, int part,
                                            size_t place, const struct dashboard_example *e)
{
    const struct want key = {.text = e->text, .feature = feature};
    const struct want *want =
        bsearch(&key, w->wants, w->n_wants, sizeof *w->wants, builder_compare_wants);
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
                              struct example_record records[BUILDER_EXAMPLES])
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

/* logits: a feature of which only that part counts; NULL: none. */
static int write_record(struct build *w, uint32_t index, const struct store_feature *logits,
                        size_t i, struct text *label, struct status *st)
{
    const struct dashboard_feature *f = dashboard_feature(w->dashboard, i);
    struct example_record examples[BUILDER_EXAMPLES];
    struct feature_record r = {.feature = logits ? *logits : (struct store_feature){0}};
    r.feature.index = index;
    r.feature.count = f->count;
    r.feature.maximum = f->maximum;
    r.feature.activations = builder_histogram(&f->histogram);
    r.feature.label = NULL;
    int32_t fired[DASHBOARD_TOP];
    for (size_t t = 0; t < f->n_top; t++) {
        fired[t] = f->top[t].token;
    }
    if (builder_label(w->b, fired, f->n_top, logits, label, st)) {
        return (int)st->code;
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

int builder_write_records(struct build *w, size_t first, size_t n, struct status *st)
{
    struct store_feature *logits = memory_zalloc(ENGINE_LOGITS_STEP, sizeof *logits);
    struct text label = {0};
    int code = logits ? STATUS_OK : status_no_memory(st, ENGINE_LOGITS_STEP * sizeof *logits);
    for (size_t at = 0; at < n && !code; at += ENGINE_LOGITS_STEP) {
        size_t block = n - at < ENGINE_LOGITS_STEP ? n - at : ENGINE_LOGITS_STEP;
        bool known = false;
        code = builder_logits(w->b, w->source, w->row, first + at, block, logits, &known, st);
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
                         struct store_example examples[BUILDER_EXAMPLES], float *along,
                         struct status *st)
{
    struct example_record records[BUILDER_EXAMPLES];
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
    struct store_example examples[BUILDER_EXAMPLES];
    struct text label = {0};
    float *along = memory_alloc((size_t)w->context * BUILDER_EXAMPLES, sizeof *along);
    int code = along ? STATUS_OK : status_no_memory(st, (size_t)w->context * BUILDER_EXAMPLES);
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
        code = code ? code : builder_check(w, st);
    }
    text_free(&label);
    memory_free(along);
    return code;
}

int builder_put(struct build *w, struct status *st)
{
    struct text names = {0};
    struct store_dashboard_writer *writer = NULL;
    int code = corpora_names(w->b->store, w->row, &names, st);
    const struct store_dashboard dashboard = {.documents = w->documents,
                                              .tokens = w->tokens,
                                              .context = w->context,
                                              .corpora = names.data,
                                              .seed = w->b->seed,
                                              .counts = w->counts,
                                              .maxima = w->maxima,
                                              .d_sae = w->source->d_sae};
    code = code ? code : store_dashboard_begin(w->b->store, w->row, &dashboard, &writer, st);
    if (!code && (code = put_features(w, writer, st))) {
        store_dashboard_abandon(writer);
    } else if (!code) {
        code = store_dashboard_end(writer, st);
    }
    text_free(&names);
    return code;
}
