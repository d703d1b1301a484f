/* POST /v1/util/sae-vector and /v1/util/sae-topk-by-decoder-cossim (neuronpedia.md 3.11, 3.12). */
#include "core/base/memory.h"
#include "server/app.h"
#include "server/http/emit.h"
#include "server/v1/fields.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

#include <string.h>

#define RESULTS_MAX 128

/* The catalogue's entry for the source a field names; NULL with what is wrong in f->st. */
static const struct sae_source *find_source(struct fields *f, const struct app *app,
                                            const char *field)
{
    (void)fields_need(f, field);
    const char *name = fields_string(f, field);
    const struct sae_source *s = name ? catalogue_find(engine_catalogue(app->engine), name) : NULL;
    if (name && !s) {
        status_set(&f->st, STATUS_NOT_FOUND,
                   "%s: there is no source \"%.120s\"; GET /v1/capabilities lists those there are",
                   field, name);
    }
    return s;
}

enum http_next util_sae_vector(struct exchange *x)
{
    const struct app *app = x->app;
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    fields_model(&f);
    const struct sae_source *source = find_source(&f, app, "source");
    (void)fields_need(&f, "index");
    size_t index = source ? fields_index(&f, "index", source->d_sae) : 0;
    float *vector = NULL;
    size_t n = 0;
    if (f.st.code == STATUS_OK) {
        (void)engine_encoder_vector(app->engine, source->name, index, &vector, &n, &f.st);
    }
    cJSON_Delete(body);
    if (f.st.code) {
        return exchange_fail(x, &f.st);
    }
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "vector");
    emit_floats(&w, vector, n);
    reply_string(&w, "hook_name", source->hook_name);
    emit_end_object(&w);
    memory_free(vector);
    return HTTP_DONE;
}

/* What the neighbours are sought of: a feature of some source, or a vector that the caller sends.
 */
struct query {
    const struct sae_source *source; /* NULL: a vector */
    size_t index;
    float *vector;
    size_t n;
};

static void read_query(struct query *q, struct fields *f, const struct app *app)
{
    const cJSON *feature = fields_get(f, "feature");
    const cJSON *vector = fields_get(f, "vector");
    if (f->st.code) {
        return;
    }
    if ((feature != NULL) == (vector != NULL)) {
        status_set(&f->st, STATUS_INVALID, "exactly one of feature or vector must be provided");
        return;
    }
    if (vector) {
        q->vector = fields_floats(f, "vector", &q->n);
        return;
    }
    if (!cJSON_IsObject(feature)) {
        status_set(&f->st, STATUS_UNPROCESSABLE,
                   "feature: expected an object with source and index, found %s",
                   fields_kind(feature));
        return;
    }
    struct fields inner = {.body = feature};
    fields_model(&inner);
    q->source = find_source(&inner, app, "source");
    (void)fields_need(&inner, "index");
    q->index = q->source ? fields_index(&inner, "index", q->source->d_sae) : 0;
    if (inner.st.code) {
        f->st = inner.st;
        (void)status_prefix(&f->st, "feature");
        return;
    }
    (void)engine_decoder_vector(app->engine, q->source->name, q->index, &q->vector, &q->n, &f->st);
}

static void write_feature(struct emitter *w, const struct app *app, const char *source,
                          size_t index)
{
    emit_object(w);
    emit_key(w, "model");
    emit_string(w, engine_model_id(app->engine));
    emit_key(w, "source");
    emit_string(w, source);
    emit_key(w, "index");
    emit_int(w, (long long)index);
    emit_end_object(w);
}

static void write_neighbours(struct exchange *x, const struct query *q, const char *target,
                             const uint32_t *index, const float *cosine, size_t found)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "feature");
    if (q->source) {
        write_feature(&w, app, q->source->name, q->index);
    } else {
        emit_null(&w);
    }
    size_t mark = reply_begin(&w, "topk_decoder_cossim_features");
    emit_array(&w);
    for (size_t i = 0; i < found; i++) {
        emit_object(&w);
        emit_key(&w, "feature");
        write_feature(&w, app, target, index[i]);
        reply_float(&w, "cosine_similarity", cosine[i]);
        emit_end_object(&w);
    }
    emit_end_array(&w);
    reply_end(&w, "topk_decoder_cossim_features", mark);
    emit_end_object(&w);
}

enum http_next util_topk_cossim(struct exchange *x)
{
    const struct app *app = x->app;
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    fields_model(&f);
    const struct sae_source *target = find_source(&f, app, "source");
    (void)fields_need(&f, "num_results");
    long long wanted = fields_integer(&f, "num_results", 1, 1000000, 10);
    size_t n = wanted < RESULTS_MAX ? (size_t)wanted : RESULTS_MAX; /* clamped as upstream does */
    struct query q = {0};
    read_query(&q, &f, app);
    uint32_t index[RESULTS_MAX];
    float cosine[RESULTS_MAX];
    size_t found = 0;
    if (f.st.code == STATUS_OK) {
        (void)engine_nearest(app->engine, target->name, q.vector, q.n, n, index, cosine, &found,
                             &f.st);
    }
    if (f.st.code) {
        (void)exchange_fail(x, &f.st);
    } else {
        write_neighbours(x, &q, target->name, index, cosine, found);
    }
    memory_free(q.vector);
    cJSON_Delete(body);
    return HTTP_DONE;
}
