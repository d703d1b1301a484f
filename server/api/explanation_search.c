/* POST /api/explanation/search, /search-model and /search-all (neuronpedia.md 2): features by words
 * of their explanations and automatic labels, best first, 20 a page. Upstream compares embeddings,
 * which needs a service; here it is SQLite's full-text search, and cosine_similarity is its score.
 */
#include "core/base/memory.h"
#include "server/api/neuron.h"
#include "server/api/record.h"
#include "server/api/routes.h"
#include "server/store/explanations.h"

#include <string.h>

#define PAGE 20
#define QUERY_MIN 3 /* characters */
#define EXAMPLES 3  /* activations of each result's neuron */
#define LAYERS_MAX 1024

struct results {
    struct emitter w;
    const struct app *app;
    struct subject subject; /* of the last result; those of one source often follow each other */
    size_t n;
    struct status st;
};

/* The neuron of a result: null where the model or the source is not here. */
static int write_neuron(struct results *r, const struct store_match *m)
{
    struct neuron neuron;
    if (strcmp(m->model, engine_model_id(r->app->engine)) != 0) {
        emit_null(&r->w);
        return STATUS_OK;
    }
    int code = STATUS_OK;
    if (!r->subject.name || strcmp(r->subject.name, m->source) != 0) {
        subject_close(&r->subject);
        code = subject_open(&r->subject, r->app, m->model, m->source, &r->st);
    }
    if (code == STATUS_NOT_FOUND) { /* a label of an SAE that is gone */
        status_clear(&r->st);
        subject_close(&r->subject);
        emit_null(&r->w);
        return STATUS_OK;
    }
    if (!code) {
        code = neuron_read(&neuron, r->app, &r->subject, m->index, true, &r->st);
        emit_object(&r->w);
        code = code ? code : neuron_write(&r->w, &neuron, &r->st);
        code = code ? code : neuron_write_activations(&r->w, &neuron, EXAMPLES, &r->st);
        emit_end_object(&r->w);
        neuron_free(&neuron);
    }
    return code;
}

static void string_or_null(struct emitter *w, const char *key, const char *value)
{
    emit_key(w, key);
    if (value && *value) {
        emit_string(w, value);
    } else {
        emit_null(w);
    }
}

static int write_match(void *user, const struct store_match *m)
{
    struct results *r = user;
    struct emitter *w = &r->w;
    emit_object(w);
    emit_key(w, "modelId");
    emit_string(w, m->model);
    emit_key(w, "layer");
    emit_string(w, m->source);
    emit_key(w, "index");
    record_index(w, m->index);
    emit_key(w, "description");
    emit_string(w, m->description);
    string_or_null(w, "explanationModelName", m->explainer);
    string_or_null(w, "typeName", m->type_name);
    string_or_null(w, "id", m->id);
    emit_key(w, "isLabel");
    emit_bool(w, m->is_label);
    emit_key(w, "cosine_similarity");
    emit_double(w, m->score);
    emit_key(w, "neuron");
    int code = write_neuron(r, m);
    emit_end_object(w);
    r->n++;
    return code;
}

/* model and layers narrow the search; NULL and none do not. */
static int reply(struct exchange *x, const cJSON *request, const char *query, const char *model,
                 const char *const *layers, size_t n_layers, size_t offset, struct status *st)
{
    struct results r = {.w = {.out = &x->response.body}, .app = x->app};
    size_t total = 0;
    emit_object(&r.w);
    emit_key(&r.w, "request");
    record_value(&r.w, request);
    emit_key(&r.w, "results");
    emit_array(&r.w);
    int code = store_search(r.app->store, query, model, layers, n_layers, offset, PAGE, write_match,
                            &r, &total, st);
    emit_end_array(&r.w);
    if (r.st.code) {
        *st = r.st;
        code = (int)st->code;
    }
    emit_key(&r.w, "resultsCount");
    emit_int(&r.w, (long long)r.n);
    emit_key(&r.w, "total");
    emit_int(&r.w, (long long)total);
    emit_key(&r.w, "hasMore");
    emit_bool(&r.w, offset + r.n < total);
    emit_key(&r.w, "nextOffset");
    emit_int(&r.w, (long long)offset + (long long)r.n);
    emit_end_object(&r.w);
    subject_close(&r.subject);
    return code;
}

/* --- requests -------------------------------------------------------------------------------- */

static const char *read_query(struct fields *f)
{
    (void)fields_need(f, "query");
    const char *query = fields_string(f, "query");
    size_t n = 0;
    for (const char *s = query; s && *s; s++) {
        n += ((unsigned char)*s & 0xC0) != 0x80; /* first bytes of characters */
    }
    if (query && n < QUERY_MIN && !f->st.code) {
        status_set(&f->st, STATUS_INVALID, "query: expected at least %d characters, found %zu",
                   QUERY_MIN, n);
    }
    return query;
}

/* The names in `layers`, memory_free the list; NULL if there are none. */
static const char **read_layers(struct fields *f, size_t *n)
{
    (void)fields_need(f, "layers");
    const cJSON *array = fields_array(f, "layers");
    size_t count = array && !f->st.code ? (size_t)cJSON_GetArraySize(array) : 0;
    *n = 0;
    if (count > LAYERS_MAX) {
        status_set(&f->st, STATUS_INVALID, "layers: expected at most %d names, found %zu",
                   LAYERS_MAX, count);
    }
    const char **names = f->st.code || !count ? NULL : memory_alloc(count, sizeof *names);
    for (const cJSON *item = names ? array->child : NULL; item; item = item->next) {
        if (!cJSON_IsString(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "layers[%zu]: expected a string, found %s", *n,
                       fields_kind(item));
            break;
        }
        names[(*n)++] = item->valuestring;
    }
    if (count && !names && !f->st.code) {
        status_no_memory(&f->st, count * sizeof *names);
    }
    return names;
}

static enum http_next run(struct exchange *x, bool with_model, bool with_layers)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    const struct app *app = x->app;
    if (with_model) {
        subject_check_model_field(app, &f);
    }
    const char *query = read_query(&f);
    long long offset = fields_integer(&f, "offset", 0, 1000000, 0);
    size_t n = 0;
    const char **layers = with_layers ? read_layers(&f, &n) : NULL;
    if (!f.st.code) {
        (void)reply(x, body, query, with_model ? engine_model_id(app->engine) : NULL, layers, n,
                    (size_t)offset, &f.st);
    }
    memory_free(layers);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}

enum http_next api_explanation_search(struct exchange *x)
{
    return run(x, true, true);
}

enum http_next api_explanation_search_model(struct exchange *x)
{
    return run(x, true, false);
}

enum http_next api_explanation_search_all(struct exchange *x)
{
    return run(x, false, false);
}
