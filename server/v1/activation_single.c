/* POST /v1/activation/single and /single-batch (neuronpedia.md 3.1, 3.2): one feature's value on
 * every token, or a caller's vector times every row of a point.
 *
 * A feature's values at <bos> are set to 0 and, where the prompt starts with <bos>, the first one
 * is left out, as upstream does. A vector keeps every position, <bos> too, and nothing is stored.
 */
#include "core/base/memory.h"
#include "server/v1/features.h"
#include "server/v1/hooks.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

#include <string.h>

struct single {
    size_t index; /* of the feature; or, for a vector: */
    size_t n;
    float vector[]; /* [n] */
};

/* --- replies --------------------------------------------------------------------------------- */

/* values [n_ids]; those before `first` are left out. */
static void write_prompt(struct emitter *w, const struct app *app, const struct features *f,
                         size_t p, const float *values, size_t first)
{
    const struct prompt *prompt = &f->prompts.items[p];
    const int32_t *ids = prompt->ids + first;
    size_t n = prompt->n_ids - first;
    emit_object(w);
    emit_key(w, "activation");
    emit_object(w);
    reply_values(w, values + first, n);
    if (f->n_sources && f->sources[0]->is_neurons) {
        reply_minimum(w, values + first, n);
    }
    emit_end_object(w);
    emit_key(w, "tokens");
    prompts_emit_tokens(w, app, ids, n);
    size_t mark = reply_begin(w, "tokens_is_special");
    emit_array(w);
    for (size_t i = 0; i < n; i++) {
        emit_bool(w, engine_is_special(app->engine, ids[i]));
    }
    emit_end_array(w);
    reply_end(w, "tokens_is_special", mark);
    emit_end_object(w);
}

/* Writes one prompt with the values that `fill` puts into [n_ids]. */
static void write_all(struct exchange *x, const struct features *f,
                      size_t (*fill)(const struct features *f, const struct app *app, size_t p,
                                     float *values))
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    if (f->prompts.batch) {
        emit_object(&w);
        emit_key(&w, "results");
        emit_array(&w);
    }
    for (size_t p = 0; p < f->prompts.n; p++) {
        const struct prompt *prompt = &f->prompts.items[p];
        float *values = memory_alloc(prompt->n_ids, sizeof *values);
        if (!values) {
            x->response.body.failed = true;
            return;
        }
        size_t first = fill(f, app, p, values);
        write_prompt(&w, app, f, p, values, first);
        memory_free(values);
    }
    if (f->prompts.batch) {
        emit_end_array(&w);
        emit_end_object(&w);
    }
}

static size_t fill_feature(const struct features *f, const struct app *app, size_t p, float *values)
{
    const struct single *single = f->options;
    const struct prompt *prompt = &f->prompts.items[p];
    const struct sparse *rows = features_rows(f, p, 0);
    for (size_t t = 0; t < prompt->n_ids; t++) {
        bool bos = prompt->ids[t] == engine_bos(app->engine);
        values[t] = bos ? 0.0f : sparse_get(rows, t, (uint32_t)single->index);
    }
    return prompts_has_bos(app, prompt) ? 1 : 0;
}

static size_t fill_vector(const struct features *f, const struct app *app, size_t p, float *values)
{
    (void)app;
    const struct single *single = f->options;
    const float *row = f->await.job->prompts[p].reads[0].data;
    for (size_t t = 0; t < f->prompts.items[p].n_ids; t++, row += single->n) {
        double dot = 0;
        for (size_t i = 0; i < single->n; i++) {
            dot += (double)row[i] * (double)single->vector[i];
        }
        values[t] = (float)dot;
    }
    return 0;
}

static enum http_next reply_feature(struct exchange *x, struct features *f)
{
    write_all(x, f, fill_feature);
    return HTTP_DONE;
}

static enum http_next reply_vector(struct exchange *x)
{
    write_all(x, x->state, fill_vector);
    return HTTP_DONE;
}

/* --- requests -------------------------------------------------------------------------------- */

static struct single *options(struct features *f, size_t n_vector)
{
    size_t bytes;
    f->options = memory_multiply(n_vector, sizeof(float), &bytes) &&
                         memory_add(bytes, sizeof(struct single), &bytes)
                     ? memory_zalloc(bytes, 1)
                     : NULL;
    if (!f->options) {
        status_no_memory(&f->fields.st, n_vector * sizeof(float));
    }
    return f->options;
}

static enum http_next run_feature(struct exchange *x, struct features *f)
{
    const struct app *app = x->app;
    const struct sae_source *source = features_source(f, app, "source");
    size_t index = source ? fields_index(&f->fields, "index", source->d_sae) : 0;
    features_add(f, source);
    struct single *single = f->fields.st.code ? NULL : options(f, 0);
    if (single) {
        single->index = index;
        f->only_one = true;
        f->entry = (uint32_t)index;
    }
    for (size_t p = 0; p < f->prompts.n && !f->fields.st.code; p++) {
        if (f->prompts.items[p].n_ids == 1 && prompts_has_bos(app, &f->prompts.items[p])) {
            char label[FIELDS_NAME];
            prompts_label(&f->prompts, p, label);
            status_set(&f->fields.st, STATUS_INVALID,
                       "%s: there is no token besides <bos>, whose activations are left out",
                       label);
        }
    }
    return features_run(x, reply_feature);
}

static enum http_next run_vector(struct exchange *x, struct features *f)
{
    const struct app *app = x->app;
    struct engine_read read = {.kind = READ_POINT};
    size_t n = 0;
    float *vector = fields_floats(&f->fields, "vector", &n);
    const char *hook = fields_string(&f->fields, "hook");
    struct status *st = &f->fields.st;
    uint64_t bytes = 0;
    if (!st->code && !hooks_find(hook, engine_config(app->engine), &read.point, &read.layer, st)) {
        struct engine_prompt one = {.ids = f->prompts.items[0].ids, .n_ids = 1};
        (void)engine_read_size(app->engine, &one, &read, &bytes, st);
    }
    if (!st->code && bytes != n * sizeof *vector) {
        status_set(st, STATUS_INVALID,
                   "vector: expected %llu numbers, the width of \"%.120s\", found %zu",
                   (unsigned long long)(bytes / sizeof *vector), hook, n);
    }
    struct single *single = st->code ? NULL : options(f, n);
    if (single) {
        single->n = n;
        memcpy(single->vector, vector, n * sizeof *vector);
    }
    memory_free(vector);
    return features_read(x, &read, 1, false, reply_vector);
}

static enum http_next run(struct exchange *x, bool batch)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    struct fields *fields = &f->fields;
    if (batch) {
        prompts_read_batch(&f->prompts, x->app, fields);
    } else {
        prompts_read(&f->prompts, x->app, fields);
    }
    bool source = fields_get(fields, "source") != NULL;
    bool index = fields_get(fields, "index") != NULL;
    bool vector = fields_get(fields, "vector") != NULL;
    bool hook = fields_get(fields, "hook") != NULL;
    if (!fields->st.code && (source != index || vector != hook || source == vector)) {
        status_set(&fields->st, STATUS_INVALID,
                   "Invalid request data: exactly one of source/index or vector/hook must be "
                   "provided, both fields of it");
    }
    if (fields->st.code) {
        return exchange_fail(x, &fields->st);
    }
    return source ? run_feature(x, f) : run_vector(x, f);
}

enum http_next activation_single(struct exchange *x)
{
    return run(x, false);
}

enum http_next activation_single_batch(struct exchange *x)
{
    return run(x, true);
}
