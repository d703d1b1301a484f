/* POST /v1/activation/all and /all-batch (neuronpedia.md 3.3, 3.4): the strongest features of a
 * whole set of sources on a prompt.
 *
 * Features are ordered by their maximum over the tokens, or by their sum over the tokens that
 * sort_by_token_indexes lists, falling; equal ones by source, then index. Features without any
 * activation fill up num_results. */
#include "core/base/memory.h"
#include "server/v1/features.h"
#include "server/v1/position_list.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

#include <stdlib.h>
#include <string.h>

#define RESULTS_DEFAULT 25
#define RESULTS_MAX 1000

struct all {
    bool ignore_bos;
    size_t num_results;
    size_t n_sort;
    size_t sort[]; /* [n_sort] positions */
};

/* --- ranking --------------------------------------------------------------------------------- */

/* A feature among those of all sources, numbered one source after the other. */
struct ranked {
    float key;
    size_t number;
};

static int by_key(const void *a, const void *b)
{
    const struct ranked *left = a, *right = b;
    if (left->key != right->key) {
        return left->key > right->key ? -1 : 1;
    }
    return left->number < right->number ? -1 : 1;
}

/* keys [d_sae], zeroed before: what the source's features are ordered by. */
static void add_keys(const struct all *all, const struct sparse *rows, bool drop_first, float *keys)
{
    for (size_t i = 0; i < all->n_sort; i++) {
        size_t t = all->sort[i];
        for (size_t e = rows->start[t]; e < rows->start[t + 1] && !(drop_first && t == 0); e++) {
            keys[rows->index[e]] += rows->value[e];
        }
    }
    for (size_t t = drop_first; t < rows->rows && all->n_sort == 0; t++) {
        for (size_t e = rows->start[t]; e < rows->start[t + 1]; e++) {
            float *key = &keys[rows->index[e]];
            *key = rows->value[e] > *key ? rows->value[e] : *key;
        }
    }
}

/* Sorts the features whose key is not 0 to the front of a new list and fills it up with others to
 * `wanted`; NULL without memory. */
static struct ranked *rank(const float *keys, size_t total, size_t wanted)
{
    size_t n = 0;
    for (size_t i = 0; i < total; i++) {
        n += keys[i] > 0;
    }
    struct ranked *list = memory_alloc(n > wanted ? n : wanted, sizeof *list);
    if (!list) {
        return NULL;
    }
    n = 0;
    for (size_t i = 0; i < total; i++) {
        if (keys[i] > 0) {
            list[n++] = (struct ranked){keys[i], i};
        }
    }
    qsort(list, n, sizeof *list, by_key);
    for (size_t i = 0; i < total && n < wanted; i++) {
        if (!(keys[i] > 0)) {
            list[n++] = (struct ranked){0, i};
        }
    }
    return list;
}

/* The `wanted` best of prompt p; NULL without memory. */
static struct ranked *best_of(const struct features *f, size_t p, bool drop_first, size_t total,
                              size_t wanted)
{
    float *keys = memory_zalloc(total, sizeof *keys);
    if (!keys) {
        return NULL;
    }
    size_t offset = 0;
    for (size_t s = 0; s < f->n_sources; s++) {
        add_keys(f->options, features_rows(f, p, s), drop_first, keys + offset);
        offset += f->sources[s]->d_sae;
    }
    struct ranked *list = rank(keys, total, wanted);
    memory_free(keys);
    return list;
}

/* --- replies --------------------------------------------------------------------------------- */

static void write_feature(struct emitter *w, const struct features *f, size_t p, size_t number,
                          bool drop_first, float *values)
{
    const struct all *all = f->options;
    size_t s = 0;
    while (number >= f->sources[s]->d_sae) {
        number -= f->sources[s++]->d_sae;
    }
    const struct sparse *rows = features_rows(f, p, s);
    for (size_t t = 0; t < rows->rows; t++) {
        values[t] = drop_first && t == 0 ? 0.0f : sparse_get(rows, t, (uint32_t)number);
    }
    float sum = 0;
    for (size_t i = 0; i < all->n_sort; i++) {
        sum += values[all->sort[i]];
    }
    emit_object(w);
    emit_key(w, "source");
    emit_string(w, f->sources[s]->name);
    emit_key(w, "index");
    emit_int(w, (long long)number);
    reply_float(w, "sum_values", sum);
    reply_values(w, values, rows->rows);
    emit_end_object(w);
}

static bool write_prompt(struct emitter *w, const struct app *app, const struct features *f,
                         size_t p, size_t total, size_t wanted)
{
    const struct all *all = f->options;
    const struct prompt *prompt = &f->prompts.items[p];
    bool drop_first = all->ignore_bos && prompts_has_bos(app, prompt);
    struct ranked *list = best_of(f, p, drop_first, total, wanted);
    float *values = memory_alloc(prompt->n_ids, sizeof *values);
    bool ok = list && values;
    emit_object(w);
    emit_key(w, "activations");
    emit_array(w);
    for (size_t i = 0; i < wanted && ok; i++) {
        write_feature(w, f, p, list[i].number, drop_first, values);
    }
    emit_end_array(w);
    emit_key(w, "tokens");
    prompts_emit_tokens(w, app, prompt->ids, prompt->n_ids);
    emit_key(w, "counts");
    emit_null(w);
    emit_end_object(w);
    memory_free(values);
    memory_free(list);
    return ok;
}

static enum http_next reply_all(struct exchange *x, struct features *f)
{
    const struct all *all = f->options;
    size_t total = 0, tokens = 0;
    for (size_t s = 0; s < f->n_sources; s++) {
        total += f->sources[s]->d_sae;
    }
    for (size_t p = 0; p < f->prompts.n; p++) {
        tokens += f->prompts.items[p].n_ids;
    }
    size_t wanted = all->num_results < total ? all->num_results : total;
    if (!reply_fits(x, (uint64_t)tokens * wanted * 2)) { /* at least "0," each */
        return HTTP_DONE;
    }
    struct emitter w = {.out = &x->response.body};
    if (f->prompts.batch) {
        emit_object(&w);
        emit_key(&w, "results");
        emit_array(&w);
    }
    bool ok = true;
    for (size_t p = 0; p < f->prompts.n && ok; p++) {
        ok = write_prompt(&w, x->app, f, p, total, wanted);
    }
    if (f->prompts.batch) {
        emit_end_array(&w);
        emit_end_object(&w);
    }
    x->response.body.failed = x->response.body.failed || !ok;
    return HTTP_DONE;
}

/* --- requests -------------------------------------------------------------------------------- */

static void read_sources(struct features *f, const struct app *app)
{
    (void)fields_need(&f->fields, "source_set");
    const char *set = fields_string(&f->fields, "source_set");
    const cJSON *selected = fields_array(&f->fields, "selected_sources");
    if (f->fields.st.code) {
        return;
    }
    if (!features_has_set(app, set)) {
        status_set(&f->fields.st, STATUS_INVALID,
                   "source_set: Invalid source set \"%.120s\"; GET /v1/capabilities lists those "
                   "there are",
                   set);
    } else if (selected && selected->child) {
        features_add_selected(f, app, "selected_sources", selected, set);
    } else {
        features_add_set(f, app, set);
    }
}

static void read_options(struct features *f)
{
    const cJSON *sort = fields_array(&f->fields, "sort_by_token_indexes");
    bool ignore_bos = fields_bool(&f->fields, "ignore_bos", false);
    long long results = fields_integer(&f->fields, "num_results", 1, 1LL << 53, RESULTS_DEFAULT);
    if (f->fields.st.code) {
        return;
    }
    size_t n = sort ? (size_t)cJSON_GetArraySize(sort) : 0;
    struct all *all = memory_zalloc(sizeof *all + n * sizeof all->sort[0], 1);
    f->options = all;
    if (!all) {
        status_no_memory(&f->fields.st, n * sizeof all->sort[0]);
        return;
    }
    all->ignore_bos = ignore_bos;
    all->num_results = (size_t)(results < RESULTS_MAX ? results : RESULTS_MAX);
    all->n_sort =
        position_list_sort(&f->fields, "sort_by_token_indexes", sort, &f->prompts, all->sort);
}

static enum http_next run(struct exchange *x, bool batch)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    if (batch) {
        prompts_read_batch(&f->prompts, x->app, &f->fields);
    } else {
        prompts_read(&f->prompts, x->app, &f->fields);
    }
    read_sources(f, x->app);
    read_options(f);
    return features_run(x, reply_all);
}

enum http_next activation_all(struct exchange *x)
{
    return run(x, false);
}

enum http_next activation_all_batch(struct exchange *x)
{
    return run(x, true);
}
