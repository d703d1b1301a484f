/* POST /api/search-all (neuronpedia.md 2): which features of a set of sources fire on a text.
 *
 * Ordered by the largest value on any token, or by the sum over the tokens that sortIndexes lists,
 * falling; equal ones by source, then index. Features that do not fire there, and those denser than
 * densityThreshold, are left out before numResults are taken. Tokens and values keep <bos>. */
#include "core/base/memory.h"
#include "server/api/neuron.h"
#include "server/api/record.h"
#include "server/api/routes.h"
#include "server/api/subject.h"
#include "server/api/texts.h"
#include "server/v1/features.h"
#include "server/v1/position_list.h"
#include "server/v1/reply.h"

#include <stdlib.h>
#include <string.h>

#define RESULTS_DEFAULT 50
#define RESULTS_MAX 100

struct search {
    bool ignore_bos;
    double threshold;
    size_t results;
    size_t n_sort;
    size_t sort[]; /* [n_sort] positions */
};

struct ranked {
    float key;
    uint32_t source, index;
};

/* --- ranking --------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    const struct ranked *left = a, *right = b;
    if (left->key != right->key) {
        return left->key > right->key ? -1 : 1;
    }
    if (left->source != right->source) {
        return left->source < right->source ? -1 : 1;
    }
    return left->index < right->index ? -1 : 1;
}

/* keys [d_sae], zeroed before. */
static void add_keys(const struct search *search, const struct sparse *rows, size_t first,
                     float *keys)
{
    for (size_t i = 0; i < search->n_sort; i++) {
        size_t t = search->sort[i];
        for (size_t e = rows->start[t]; e < rows->start[t + 1] && t >= first; e++) {
            keys[rows->index[e]] += rows->value[e];
        }
    }
    for (size_t t = first; t < rows->rows && search->n_sort == 0; t++) {
        for (size_t e = rows->start[t]; e < rows->start[t + 1]; e++) {
            float *key = &keys[rows->index[e]];
            *key = rows->value[e] > *key ? rows->value[e] : *key;
        }
    }
}

/* A list that grows. */
struct list {
    struct ranked *items;
    size_t n, capacity;
};

static bool add(struct list *list, struct ranked item)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256;
        struct ranked *items = memory_resize(list->items, capacity, sizeof *items);
        if (!items) {
            return false;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = item;
    return true;
}

static bool add_source(struct list *list, const struct features *f, const struct subject *subject,
                       size_t p, size_t s, size_t first)
{
    const struct search *search = f->options;
    size_t d_sae = f->sources[s]->d_sae;
    float *keys = memory_zalloc(d_sae, sizeof *keys);
    bool ok = keys != NULL;
    if (ok) {
        add_keys(search, features_rows(f, p, s), first, keys);
    }
    for (size_t i = 0; i < d_sae && ok; i++) {
        if (keys[i] > 0 && !subject_is_denser(subject, (int64_t)i, search->threshold)) {
            ok = add(list, (struct ranked){keys[i], (uint32_t)s, (uint32_t)i});
        }
    }
    memory_free(keys);
    return ok;
}

/* --- replies --------------------------------------------------------------------------------- */

static int write_neuron(struct emitter *w, const struct app *app, const struct subject *s,
                        int64_t index, struct status *st)
{
    struct neuron neuron;
    int code = neuron_read(&neuron, app, s, index, false, st);
    emit_key(w, "neuron");
    emit_object(w);
    code = code ? code : neuron_write(w, &neuron, st);
    emit_end_object(w);
    neuron_free(&neuron);
    return code;
}

static int write_result(struct emitter *w, const struct app *app, const struct features *f,
                        const struct subject *s, size_t p, const struct ranked *r, size_t first,
                        struct status *st)
{
    const struct sparse *rows = features_rows(f, p, r->source);
    float *values = memory_zalloc(rows->rows, sizeof *values);
    if (!values) {
        return status_no_memory(st, rows->rows * sizeof *values);
    }
    size_t best = 0;
    for (size_t t = first; t < rows->rows; t++) {
        values[t] = sparse_get(rows, t, r->index);
        best = values[t] > values[best] ? t : best;
    }
    static const char *const blank[] = {"dfaValues", "dfaTargetIndex", "dfaMaxValue", NULL};
    int code = STATUS_OK;
    emit_object(w);
    emit_key(w, "modelId");
    emit_string(w, s->model);
    emit_key(w, "layer");
    emit_string(w, s->name);
    emit_key(w, "index");
    record_index(w, r->index);
    emit_key(w, "values");
    emit_floats(w, values, rows->rows);
    emit_key(w, "maxValue");
    emit_float(w, values[best]);
    emit_key(w, "maxValueIndex");
    emit_int(w, (long long)best);
    record_blank(w, blank, "null");
    if (!f->prompts.batch) {
        code = write_neuron(w, app, s, r->index, st);
    }
    emit_end_object(w);
    memory_free(values);
    return code;
}

static int write_text(struct emitter *w, const struct app *app, const struct features *f,
                      const struct subject *subjects, size_t p, struct status *st)
{
    const struct search *search = f->options;
    const struct prompt *prompt = &f->prompts.items[p];
    size_t first = search->ignore_bos && prompts_has_bos(app, prompt);
    struct list list = {0};
    int code = STATUS_OK;
    for (size_t s = 0; s < f->n_sources && !code; s++) {
        if (!add_source(&list, f, &subjects[s], p, s, first)) {
            code = status_no_memory(st, f->sources[s]->d_sae * sizeof(float));
        }
    }
    if (list.n) {
        qsort(list.items, list.n, sizeof *list.items, by_key);
    }
    emit_object(w);
    emit_key(w, "tokens");
    prompts_emit_tokens(w, app, prompt->ids, prompt->n_ids);
    emit_key(w, "result");
    emit_array(w);
    for (size_t i = 0; i < list.n && i < search->results && !code; i++) {
        const struct ranked *r = &list.items[i];
        code = write_result(w, app, f, &subjects[r->source], p, r, first, st);
    }
    emit_end_array(w);
    emit_key(w, "sortIndexes");
    emit_array(w);
    for (size_t i = 0; i < search->n_sort; i++) {
        emit_int(w, (long long)search->sort[i]);
    }
    emit_end_array(w);
    emit_end_object(w);
    memory_free(list.items);
    return code;
}

static enum http_next reply_search(struct exchange *x, struct features *f)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    struct status st = {0};
    const struct search *search = f->options;
    uint64_t tokens = 0;
    for (size_t p = 0; p < f->prompts.n; p++) {
        tokens += f->prompts.items[p].n_ids;
    }
    if (!reply_fits(x, tokens * search->results * 2)) { /* at least "0," each */
        return HTTP_DONE;
    }
    struct subject *subjects = memory_zalloc(f->n_sources, sizeof *subjects);
    if (!subjects) {
        status_no_memory(&st, f->n_sources * sizeof *subjects);
        return exchange_fail(x, &st);
    }
    for (size_t s = 0; s < f->n_sources && !st.code; s++) {
        (void)subject_open(&subjects[s], app, engine_model_id(app->engine), f->sources[s]->name,
                           &st);
    }
    if (f->prompts.batch) {
        emit_object(&w);
        emit_key(&w, "results");
        emit_array(&w);
    }
    for (size_t p = 0; p < f->prompts.n && !st.code; p++) {
        (void)write_text(&w, app, f, subjects, p, &st);
    }
    if (f->prompts.batch) {
        emit_end_array(&w);
        emit_end_object(&w);
    }
    for (size_t s = 0; s < f->n_sources; s++) {
        subject_close(&subjects[s]);
    }
    memory_free(subjects);
    return st.code ? exchange_fail(x, &st) : HTTP_DONE;
}

/* --- requests -------------------------------------------------------------------------------- */

static void read_sources(struct features *f, const struct app *app)
{
    (void)fields_need(&f->fields, "source_set");
    const char *set = fields_string(&f->fields, "source_set");
    const cJSON *selected = fields_array(&f->fields, "selected_layers");
    if (f->fields.st.code) {
        return;
    }
    if (selected && selected->child) {
        features_add_selected(f, app, "selected_layers", selected, set);
    } else if (features_has_set(app, set)) {
        features_add_set(f, app, set);
    } else {
        status_set(
            &f->fields.st, STATUS_NOT_FOUND,
            "source_set: there is no source set \"%.120s\"; GET /v1/capabilities lists those "
            "there are",
            set);
    }
}

static void read_options(struct features *f)
{
    const cJSON *sort = fields_array(&f->fields, "sort_indexes");
    bool ignore_bos = fields_bool(&f->fields, "ignore_bos", false);
    double threshold = subject_threshold_field(&f->fields, -1);
    long long results = fields_integer(&f->fields, "num_results", 1, RESULTS_MAX, RESULTS_DEFAULT);
    if (f->fields.st.code) {
        return;
    }
    size_t n = sort ? (size_t)cJSON_GetArraySize(sort) : 0;
    struct search *search = memory_zalloc(sizeof *search + n * sizeof search->sort[0], 1);
    f->options = search;
    if (!search) {
        status_no_memory(&f->fields.st, n * sizeof search->sort[0]);
        return;
    }
    search->ignore_bos = ignore_bos;
    search->threshold = threshold;
    search->results = (size_t)results;
    search->n_sort =
        position_list_sort(&f->fields, "sort_indexes", sort, &f->prompts, search->sort);
}

enum http_next api_search_all(struct exchange *x)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    subject_check_model_field(x->app, &f->fields);
    texts_read(&f->prompts, x->app, &f->fields, "text", PROMPTS_MAX);
    read_sources(f, x->app);
    read_options(f);
    return features_run(x, reply_search);
}
