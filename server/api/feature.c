/* GET /api/feature/{model}/{source}/{index}, POST /api/features and /api/features-offset
 * (neuronpedia.md 2): features with all that is known of them. */
#include "core/base/memory.h"
#include "server/api/neuron.h"
#include "server/api/record.h"
#include "server/api/routes.h"
#include "server/http/replies.h"
#include "server/v1/reply.h"

#include <stdio.h>
#include <string.h>

#define PAGE 25      /* features of /api/features-offset, as upstream */
#define LIST_MAX 250 /* features of /api/features */

/* --- one feature ----------------------------------------------------------------------------- */

static int write_feature(struct emitter *w, const struct neuron *neuron, struct status *st)
{
    static const char *const blank[] = {"creator", NULL};
    static const char *const lists[] = {"lists", "comments", NULL};
    char set[256];
    subject_set_name(neuron->subject->name, set, sizeof set);
    emit_object(w);
    int code = neuron_write(w, neuron, st);
    emit_key(w, "model");
    subject_write_model(w, neuron->app);
    emit_key(w, "source");
    subject_write_source(w, neuron->subject);
    emit_key(w, "sourceSet");
    emit_object(w);
    subject_write_set(w, neuron->app, set, neuron->subject->indexed);
    emit_end_object(w);
    record_blank(w, blank, "null");
    record_blank(w, lists, "[]");
    code = code ? code : neuron_write_activations(w, neuron, NEURON_ALL, st);
    code = code ? code : neuron_write_imported(w, neuron, st);
    emit_end_object(w);
    return code;
}

static int not_there(const struct neuron *neuron, struct status *st)
{
    return status_set(st, STATUS_NOT_FOUND, "\"%.120s\" has no feature %lld here",
                      neuron->subject->name, (long long)neuron->index);
}

static int answer(struct exchange *x, struct status *st)
{
    const struct app *app = x->app;
    char **names = x->request.parameters;
    struct subject subject = {0};
    struct neuron neuron = {0};
    struct emitter w = {.out = &x->response.body};
    int64_t index;
    if (subject_open(&subject, app, names[0], names[1], st) == STATUS_OK &&
        subject_index(&subject, names[2], &index, st) == STATUS_OK &&
        neuron_read(&neuron, app, &subject, index, true, st) == STATUS_OK) {
        (void)(neuron_exists(&neuron) ? write_feature(&w, &neuron, st) : not_there(&neuron, st));
    }
    neuron_free(&neuron);
    subject_close(&subject);
    return (int)st->code;
}

/* The state is read before the page, so that one written meanwhile is not taken for a new one. */
enum http_next api_feature(struct exchange *x)
{
    const struct app *app = x->app;
    struct status st = {0};
    int64_t state, note;
    if (store_pages_state(app->store, &state, &st)) {
        return exchange_fail(x, &st);
    }
    if (state && replies_take(app->replies, x, state, &note)) {
        return HTTP_DONE;
    }
    if (answer(x, &st)) {
        return exchange_fail(x, &st);
    }
    if (state) {
        replies_keep(app->replies, x, state, 0);
    }
    return HTTP_DONE;
}

/* --- several --------------------------------------------------------------------------------- */

/* Appends one object, with at most `limit` activations. */
static int write_one(struct emitter *w, const struct app *app, const struct subject *subject,
                     int64_t index, size_t limit, struct status *st)
{
    struct neuron neuron;
    int code = neuron_read(&neuron, app, subject, index, limit > 0, st);
    if (!code && !neuron_exists(&neuron)) {
        code = not_there(&neuron, st);
    }
    if (!code) {
        emit_object(w);
        code = neuron_write(w, &neuron, st);
        code = code ? code : neuron_write_activations(w, &neuron, limit, st);
        emit_end_object(w);
    }
    neuron_free(&neuron);
    return code;
}

/* The list that upstream sends bare; {"features": [..]} is taken too. NULL when the response is
 * filled. */
static const cJSON *read_list(struct exchange *x, cJSON **root)
{
    struct status st = {0};
    if (!x->request.body || x->request.body_length == 0) {
        (void)exchange_error(x, 400, "body: expected a list of features, found nothing");
        return NULL;
    }
    if (json_parse(root, x->request.body, x->request.body_length, "body", &st)) {
        (void)exchange_fail(x, &st);
        return NULL;
    }
    const cJSON *list = cJSON_IsObject(*root) ? json_get(*root, "features") : *root;
    if (!cJSON_IsArray(list)) {
        (void)exchange_error(x, 400, "body: expected a list of {modelId, layer, index}");
        return NULL;
    }
    int n = cJSON_GetArraySize(list);
    if (n > LIST_MAX) {
        (void)exchange_error(x, 400, "body: expected at most %d features, found %d", LIST_MAX, n);
        return NULL;
    }
    return list;
}

/* Writes what one entry of the list asks for. *subject is kept while its source stays the same. */
static int write_entry(struct emitter *w, const struct app *app, const cJSON *entry,
                       struct subject *subject, struct status *st)
{
    if (!cJSON_IsObject(entry)) {
        return status_set(st, STATUS_UNPROCESSABLE, "expected an object, found %s",
                          fields_kind(entry));
    }
    struct fields f = {.body = entry};
    subject_check_model_field(app, &f);
    const char *name = subject_name_field(&f);
    if (!f.st.code && (!subject->name || strcmp(subject->name, name) != 0)) {
        subject_close(subject);
        (void)subject_open(subject, app, engine_model_id(app->engine), name, &f.st);
    }
    int64_t index = f.st.code ? 0 : subject_index_field(subject, &f);
    long long limit = fields_integer(&f, "max_acts_to_return", 0, 1000, 1000);
    if (!f.st.code) {
        (void)write_one(w, app, subject, index, (size_t)limit, &f.st);
    }
    *st = f.st;
    return (int)st->code;
}

enum http_next api_features(struct exchange *x)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    struct subject subject = {0};
    struct status st = {0};
    cJSON *root = NULL;
    const cJSON *list = read_list(x, &root);
    if (list) {
        size_t i = 0;
        emit_array(&w);
        for (const cJSON *entry = list->child; entry && !st.code; entry = entry->next, i++) {
            if (write_entry(&w, app, entry, &subject, &st)) {
                (void)status_prefix(&st, "[%zu]", i);
            }
        }
        emit_end_array(&w);
        if (st.code) {
            (void)exchange_fail(x, &st);
        }
    }
    subject_close(&subject);
    cJSON_Delete(root);
    return HTTP_DONE;
}

enum http_next api_features_offset(struct exchange *x)
{
    const struct app *app = x->app;
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    struct subject subject;
    struct emitter w = {.out = &x->response.body};
    subject_open_fields(&subject, app, &f);
    long long offset = fields_integer(&f, "offset", 0, 1LL << 40, 0);
    long long end = subject.source ? (long long)subject.source->d_sae : 0;
    end = offset + PAGE < end ? offset + PAGE : end;
    emit_array(&w);
    for (long long i = offset; i < end && !f.st.code; i++) {
        (void)write_one(&w, app, &subject, i, NEURON_ALL, &f.st);
    }
    emit_end_array(&w);
    subject_close(&subject);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}
