/* POST /api/activation/new and /api/activation/source (neuronpedia.md 2): what a feature, or every
 * feature of a source, does on a text of one's own. The same rows as /v1's, from the cache or
 * computed. */
#include "core/base/memory.h"
#include "server/api/record.h"
#include "server/api/routes.h"
#include "server/api/subject.h"
#include "server/api/texts.h"
#include "server/v1/active.h"
#include "server/v1/features.h"

#define SOURCE_TEXTS_MAX 4 /* of /api/activation/source, as upstream */

/* --- one feature ----------------------------------------------------------------------------- */

struct one {
    const struct sae_source *source;
    uint32_t index;
};

/* values [n], without the <bos> that the text begins with. n >= 1. */
static void write_values(struct emitter *w, const float *values, size_t n)
{
    size_t best = 0;
    float least = values[0];
    for (size_t i = 1; i < n; i++) {
        best = values[i] > values[best] ? i : best;
        least = values[i] < least ? values[i] : least;
    }
    emit_key(w, "values");
    emit_floats(w, values, n);
    emit_key(w, "maxValue");
    emit_float(w, values[best]);
    emit_key(w, "minValue");
    emit_float(w, least);
    emit_key(w, "maxValueTokenIndex");
    emit_int(w, (long long)best);
}

static void write_text(struct emitter *w, const struct app *app, const struct features *f, size_t p,
                       float *values)
{
    static const char *const blank[] = {"creatorId",      "dataIndex",   "dfaValues",
                                        "dfaTargetIndex", "dfaMaxValue", NULL};
    const struct one *one = f->options;
    const struct prompt *prompt = &f->prompts.items[p];
    const struct sparse *rows = features_rows(f, p, 0);
    size_t first = prompts_has_bos(app, prompt);
    for (size_t t = 0; t < prompt->n_ids; t++) {
        bool bos = prompt->ids[t] == engine_bos(app->engine);
        values[t] = bos ? 0 : sparse_get(rows, t, one->index);
    }
    emit_object(w);
    emit_key(w, "tokens");
    prompts_emit_tokens(w, app, prompt->ids + first, prompt->n_ids - first);
    write_values(w, values + first, prompt->n_ids - first);
    emit_key(w, "modelId");
    emit_string(w, engine_model_id(app->engine));
    emit_key(w, "layer");
    emit_string(w, one->source->name);
    emit_key(w, "index");
    record_index(w, one->index);
    record_blank(w, blank, "null");
    emit_key(w, "dataSource");
    emit_string(w, "Neuronpedia");
    emit_key(w, "createdAt");
    char now[RECORD_TIME];
    emit_string(w, record_now(now));
    emit_end_object(w);
}

static enum http_next reply_new(struct exchange *x, struct features *f)
{
    struct emitter w = {.out = &x->response.body};
    if (f->prompts.batch) {
        emit_array(&w);
    }
    for (size_t p = 0; p < f->prompts.n; p++) {
        float *values = memory_alloc(f->prompts.items[p].n_ids, sizeof *values);
        if (!values) {
            x->response.body.failed = true;
            return HTTP_DONE;
        }
        write_text(&w, x->app, f, p, values);
        memory_free(values);
    }
    if (f->prompts.batch) {
        emit_end_array(&w);
    }
    return HTTP_DONE;
}

/* `feature` {modelId, source, index}, or the older `neuron` {modelId, layer, index}. */
static void read_feature(struct features *f, const struct app *app)
{
    const char *field = fields_get(&f->fields, "feature") || !fields_get(&f->fields, "neuron")
                            ? "feature"
                            : "neuron";
    const cJSON *value = fields_need(&f->fields, field);
    if (value && !cJSON_IsObject(value)) {
        status_set(&f->fields.st, STATUS_UNPROCESSABLE,
                   "%s: expected an object with modelId, source and index, found %s", field,
                   fields_kind(value));
    }
    if (f->fields.st.code) {
        return;
    }
    struct fields inner = {.body = value};
    struct subject s;
    subject_open_fields(&s, app, &inner);
    struct one *one = memory_zalloc(1, sizeof *one);
    f->options = one;
    if (!inner.st.code && !subject_need_sae(&s, &inner.st) && one) {
        one->index = (uint32_t)subject_index_field(&s, &inner);
        one->source = s.source;
    }
    subject_close(&s);
    if (inner.st.code) {
        f->fields.st = inner.st;
        (void)status_prefix(&f->fields.st, "%s", field);
    } else if (!one) {
        status_no_memory(&f->fields.st, sizeof *one);
    } else {
        features_add(f, one->source);
        f->only_one = true;
        f->entry = one->index;
    }
}

/* A text of <bos> alone has no values to show. */
static void check_lengths(struct features *f, const struct app *app)
{
    for (size_t p = 0; p < f->prompts.n && !f->fields.st.code; p++) {
        const struct prompt *prompt = &f->prompts.items[p];
        if (prompt->n_ids == 1 && prompts_has_bos(app, prompt)) {
            char label[FIELDS_NAME];
            prompts_label(&f->prompts, p, label);
            status_set(&f->fields.st, STATUS_INVALID, "%s: there is no token besides <bos>", label);
        }
    }
}

enum http_next api_activation_new(struct exchange *x)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    read_feature(f, x->app);
    texts_read(&f->prompts, x->app, &f->fields, "custom_text", PROMPTS_MAX);
    (void)fields_bool(&f->fields, "ignore_bos", false); /* <bos> is left out either way */
    check_lengths(f, x->app);
    return features_run(x, reply_new);
}

/* --- a whole source -------------------------------------------------------------------------- */

static enum http_next reply_source(struct exchange *x, struct features *f)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "data"); /* the envelope of upstream's HTTP library, which it passes on */
    emit_object(&w);
    emit_key(&w, "results");
    emit_array(&w);
    for (size_t p = 0; p < f->prompts.n; p++) {
        const struct prompt *prompt = &f->prompts.items[p];
        emit_object(&w);
        emit_key(&w, "tokens");
        prompts_emit_tokens(&w, app, prompt->ids, prompt->n_ids);
        emit_key(&w, "activeFeatures");
        active_write(&w, features_rows(f, p, 0), prompts_has_bos(app, prompt));
        emit_end_object(&w);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    emit_key(&w, "response");
    emit_raw(&w, "{}", 2);
    emit_end_object(&w);
    return HTTP_DONE;
}

enum http_next api_activation_source(struct exchange *x)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    subject_check_model_field(x->app, &f->fields);
    const char *name = subject_name_field(&f->fields);
    if (name && !f->fields.st.code) {
        const struct sae_source *source = features_find(f, x->app, name, "source");
        features_refuse_neurons(f, source);
        features_add(f, source);
    }
    texts_read(&f->prompts, x->app, &f->fields, "custom_text", SOURCE_TEXTS_MAX);
    return features_run(x, reply_source);
}
