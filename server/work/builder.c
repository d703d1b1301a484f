#include "server/work/builder.h"

#include "core/base/memory.h"
#include "server/store/documents.h"
#include "server/work/builder_private.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES = 3 };

int builder_check(const struct build *w, struct status *st)
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
    int code = builder_check(w, st);
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

int builder_compare_wants(const void *a, const void *b)
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
        most += dashboard_feature(w->dashboard, i)->count ? BUILDER_EXAMPLES : 0;
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
    qsort(w->wants, w->n_wants, sizeof *w->wants, builder_compare_wants);
    size_t kept = 0;
    for (size_t i = 0; i < w->n_wants; i++) {
        if (kept == 0 || builder_compare_wants(&w->wants[kept - 1], &w->wants[i]) != 0) {
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
    return builder_check(w, st);
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
        memory / (sizeof(struct dashboard_feature) + BUILDER_EXAMPLES * sizeof(struct want)) *
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
               (code = builder_write_records(w, first, n, st)));
        free_chunk(w);
    }
    return code ? code : builder_put(w, st);
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
