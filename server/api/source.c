/* GET /api/source/{model}/{source} and .../summary: what a source's page shows of the whole source
 * (darkmatter's own; `source` in it is Neuronpedia's Source object). */
#include "core/base/memory.h"
#include "server/api/record.h"
#include "server/api/routes.h"
#include "server/api/subject.h"
#include "server/store/explanations.h"

#include <string.h>

static int count_explanation(void *user, const struct store_explanation *e)
{
    (void)e;
    ++*(size_t *)user;
    return 0;
}

static int stop_at_line(void *user, const struct store_imported *line)
{
    (void)line;
    *(bool *)user = true;
    return 1;
}

static void write_number(struct emitter *w, const char *key, bool known, int64_t value)
{
    emit_key(w, key);
    if (known) {
        emit_int(w, value);
    } else {
        emit_null(w);
    }
}

static void write_dashboard(struct emitter *w, const struct subject *s)
{
    const struct store_dashboard *d = &s->dashboard;
    int64_t alive = 0;
    float maximum = 0;
    for (size_t i = 0; s->indexed && i < d->d_sae; i++) {
        alive += d->counts[i] > 0;
        maximum = d->maxima[i] > maximum ? d->maxima[i] : maximum;
    }
    write_number(w, "alive", s->indexed, alive);
    write_number(w, "dead", s->indexed, (int64_t)d->d_sae - alive);
    write_number(w, "documents", s->indexed, d->documents);
    write_number(w, "tokens", s->indexed, d->tokens);
    write_number(w, "context", s->indexed, d->context);
    write_number(w, "seed", s->indexed, d->seed);
    emit_key(w, "maxActApprox");
    if (s->indexed) {
        emit_rounded(w, (double)maximum, 5);
    } else {
        emit_null(w);
    }
    emit_key(w, "corpora");
    emit_raw(w, s->indexed ? d->corpora : "[]", s->indexed ? strlen(d->corpora) : 2);
    emit_key(w, "madeAt");
    if (s->indexed) {
        emit_string(w, d->made_at);
    } else {
        emit_null(w);
    }
}

static int reply(struct exchange *x, const struct subject *s, struct status *st)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    size_t explanations = 0;
    bool imported = false;
    int code =
        store_explanations(app->store, s->model, s->name, -1, count_explanation, &explanations, st);
    if (code) {
        return code;
    }
    (void)store_imported_features(app->store, s->model, s->name, -1, stop_at_line, &imported, st);
    if (imported) {
        status_clear(st); /* stopping is no error */
    } else if (st->code) {
        return (int)st->code;
    }
    emit_object(&w);
    emit_key(&w, "modelId");
    emit_string(&w, s->model);
    emit_key(&w, "id");
    emit_string(&w, s->name);
    emit_key(&w, "indexed");
    emit_bool(&w, s->indexed);
    emit_key(&w, "imported");
    emit_bool(&w, imported);
    write_number(&w, "d_sae", s->source != NULL, s->source ? (int64_t)s->source->d_sae : 0);
    write_number(&w, "explanations", true, (int64_t)explanations);
    write_dashboard(&w, s);
    emit_key(&w, "source");
    subject_write_source(&w, s);
    emit_end_object(&w);
    return STATUS_OK;
}

enum http_next api_source(struct exchange *x)
{
    char **names = x->request.parameters;
    struct subject s;
    struct status st = {0};
    if (!subject_open(&s, x->app, names[0], names[1], &st)) {
        (void)reply(x, &s, &st);
    }
    subject_close(&s);
    return st.code ? exchange_fail(x, &st) : HTTP_DONE;
}

/* --- summary --------------------------------------------------------------------------------- */

/* Little endian, whatever the machine is. */
static void put(struct text *out, uint32_t value)
{
    char bytes[4];
    for (int i = 0; i < 4; i++) {
        bytes[i] = (char)(value >> (8 * i) & 0xFF);
    }
    text_append(out, bytes, sizeof bytes);
}

static void put_all(struct text *out, const struct store_dashboard *d)
{
    if (!text_reserve(out, 4 + 8 * d->d_sae)) {
        return;
    }
    put(out, (uint32_t)d->d_sae);
    for (size_t i = 0; i < d->d_sae; i++) {
        put(out, d->counts[i]);
    }
    for (size_t i = 0; i < d->d_sae; i++) {
        uint32_t bits;
        memcpy(&bits, &d->maxima[i], sizeof bits);
        put(out, bits);
    }
}

enum http_next api_source_summary(struct exchange *x)
{
    char **names = x->request.parameters;
    struct subject s;
    struct status st = {0};
    if (!subject_open(&s, x->app, names[0], names[1], &st)) {
        if (s.indexed) {
            x->response.content_type = "application/octet-stream";
            put_all(&x->response.body, &s.dashboard);
        } else {
            status_set(&st, STATUS_NOT_FOUND,
                       "\"%.120s\" has not been indexed here (darkmatter index, or POST "
                       "/api/index)",
                       s.name);
        }
    }
    subject_close(&s);
    return st.code ? exchange_fail(x, &st) : HTTP_DONE;
}
