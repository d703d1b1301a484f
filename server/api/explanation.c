/* POST /api/explanation/new, /edit and /delete: explanations of one's own. Imported ones stay as
 * they came. */
#include "core/base/memory.h"
#include "server/api/explained.h"
#include "server/api/record.h"
#include "server/api/routes.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define DESCRIPTION_MAX 10000 /* bytes */
#define ID_SIZE 32            /* of those made here */
#define ID_MAX 100

/* A copy of the explanation with the wanted id. */
struct wanted {
    const char *id;
    struct store_explanation copy;
    struct text strings; /* of the copy, each with its NUL */
    bool found;
};

static int take(void *user, const struct store_explanation *e)
{
    struct wanted *wanted = user;
    if (strcmp(e->id, wanted->id) != 0) {
        return 0;
    }
    const char *from[] = {e->id,        e->model, e->source, e->author, e->type_name,
                          e->explainer, e->notes, e->origin, e->other,  e->created_at};
    const char **to[] = {&wanted->copy.id,        &wanted->copy.model,     &wanted->copy.source,
                         &wanted->copy.author,    &wanted->copy.type_name, &wanted->copy.explainer,
                         &wanted->copy.notes,     &wanted->copy.origin,    &wanted->copy.other,
                         &wanted->copy.created_at};
    size_t n = sizeof from / sizeof *from;
    for (size_t i = 0; i < n; i++) {
        const char *s = from[i] ? from[i] : "";
        text_append(&wanted->strings, s, strlen(s) + 1);
    }
    const char *at = wanted->strings.failed ? NULL : wanted->strings.data;
    for (size_t i = 0; i < n && at; i++) {
        *to[i] = at;
        at += strlen(at) + 1;
    }
    wanted->copy.index = e->index;
    wanted->found = true;
    return 1;
}

/* Whether the model has an explanation of this id; wanted->copy is it. */
static int look_up(struct wanted *wanted, const struct app *app, struct status *st)
{
    (void)store_explanations(app->store, engine_model_id(app->engine), NULL, -1, take, wanted, st);
    if (wanted->found) {
        status_clear(st); /* stopping is no error */
    }
    return wanted->strings.failed ? status_no_memory(st, 1) : (int)st->code;
}

/* 96 random bits: "here" and 24 hex digits, unlike upstream's cuids. */
static int new_id(char id[ID_SIZE], struct status *st)
{
    unsigned char bytes[12];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return status_set(st, STATUS_IO, "the system gives no random numbers");
    }
    size_t n = (size_t)snprintf(id, ID_SIZE, "here");
    for (size_t i = 0; i < sizeof bytes; i++) {
        n += (size_t)snprintf(id + n, ID_SIZE - n, "%02x", bytes[i]);
    }
    return STATUS_OK;
}

static const char *read_description(struct fields *f)
{
    (void)fields_need(f, "description");
    const char *text = fields_string(f, "description");
    if (!text || f->st.code) {
        return NULL;
    }
    size_t n = strlen(text);
    if (n > DESCRIPTION_MAX) {
        status_set(&f->st, STATUS_INVALID, "description: expected at most %d bytes, found %zu",
                   DESCRIPTION_MAX, n);
    } else if (strspn(text, " \t\r\n") == n) {
        status_set(&f->st, STATUS_INVALID, "description: expected some words, found none");
    }
    return text;
}

static int keep(struct exchange *x, const struct store_explanation *e, struct status *st)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    int code = store_put_explanations(app->store, e, 1, st);
    if (!code) {
        explained_write_one(&w, e);
    }
    return code;
}

/* `id`, which must be new, or one made up into `made`. */
static const char *read_id(const struct app *app, struct fields *f, char made[ID_SIZE])
{
    struct wanted wanted = {.id = fields_string(f, "id")};
    if (f->st.code) {
        return NULL;
    }
    if (!wanted.id) {
        (void)new_id(made, &f->st);
        return made;
    }
    size_t n = strlen(wanted.id);
    if (n < 1 || n > ID_MAX) {
        status_set(&f->st, STATUS_INVALID, "id: expected 1 to %d bytes, found %zu", ID_MAX, n);
    } else if (!look_up(&wanted, app, &f->st) && wanted.found) {
        status_set(&f->st, STATUS_INVALID, "id: there is an explanation \"%s\" already", wanted.id);
    }
    text_free(&wanted.strings);
    return wanted.id;
}

enum http_next api_explanation_new(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    struct subject s;
    char id[ID_SIZE], now[RECORD_TIME];
    subject_open_fields(&s, x->app, &f);
    int64_t index = f.st.code ? 0 : subject_index_field(&s, &f);
    const char *description = read_description(&f);
    const char *name = read_id(x->app, &f, id);
    if (!f.st.code) {
        struct store_explanation e = {.id = name,
                                      .model = s.model,
                                      .source = s.name,
                                      .index = index,
                                      .description = description,
                                      .origin = "here",
                                      .created_at = record_now(now)};
        (void)keep(x, &e, &f.st);
    }
    subject_close(&s);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}

/* --- requests -------------------------------------------------------------------------------- */

/* Finds the one that `id` names, among the model's; it must be of one's own. */
static int find(struct wanted *wanted, const struct app *app, struct fields *f)
{
    struct status *st = &f->st;
    *wanted = (struct wanted){0};
    (void)fields_need(f, "id");
    wanted->id = fields_string(f, "id");
    if (st->code) {
        return (int)st->code;
    }
    if (look_up(wanted, app, st)) {
        return (int)st->code;
    }
    if (!wanted->found) {
        return status_set(st, STATUS_NOT_FOUND, "id: there is no explanation \"%.120s\"",
                          wanted->id);
    }
    if (strcmp(wanted->copy.origin, "here") != 0) {
        return status_set(st, STATUS_INVALID,
                          "id: explanation \"%.120s\" was imported and stays as it came; add one "
                          "of your own instead",
                          wanted->id);
    }
    return STATUS_OK;
}

enum http_next api_explanation_edit(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    struct wanted wanted = {0};
    const char *description = read_description(&f);
    if (!find(&wanted, x->app, &f)) {
        wanted.copy.description = description;
        (void)keep(x, &wanted.copy, &f.st);
    }
    text_free(&wanted.strings);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}

enum http_next api_explanation_delete(struct exchange *x)
{
    const struct app *app = x->app;
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    struct wanted wanted = {0};
    bool found = false;
    if (!find(&wanted, app, &f) &&
        !store_delete_explanation(app->store, wanted.copy.id, &found, &f.st)) {
        struct emitter w = {.out = &x->response.body};
        emit_object(&w);
        emit_key(&w, "id");
        emit_string(&w, wanted.copy.id);
        emit_key(&w, "deleted");
        emit_bool(&w, found);
        emit_end_object(&w);
    }
    text_free(&wanted.strings);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}
