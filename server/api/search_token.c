/* POST /api/search-token: the features that fire on a token, or that promote it (darkmatter's own),
 * of one source or of all of them together.
 *
 * fires: the token is among those that the feature's label names as its top ones; sorted by its
 * place there, then by the feature's maximum. promotes: the token is among the feature's ten
 * largest logits; sorted by the logit. Of a source that was not indexed, promotes is computed:
 * U[token] . W_dec of the features whose decoder row lies nearest to U[token]. */
#include "core/base/memory.h"
#include "core/dashboard/label.h"
#include "server/api/explained.h"
#include "server/api/record.h"
#include "server/api/routes.h"
#include "server/api/token_hits.h"
#include "server/v1/features.h"

#include <string.h>

#define LIMIT_DEFAULT 20
#define LIMIT_MAX 100

/* --- replies --------------------------------------------------------------------------------- */

static int write_hit(struct emitter *w, const struct app *app, const struct token_search *s,
                     const struct token_hit *hit, struct status *st)
{
    const struct subject *subject = hit->subject;
    char *text = NULL;
    int code = explained_first(app, subject, hit->index, &text, st);
    emit_object(w);
    emit_key(w, "modelId");
    emit_string(w, subject->model);
    emit_key(w, "layer");
    emit_string(w, subject->name);
    emit_key(w, "index");
    record_index(w, hit->index);
    emit_key(w, s->promotes ? "logit" : "place");
    if (s->promotes) {
        emit_rounded(w, (double)hit->value, 5);
    } else {
        emit_int(w, hit->place);
    }
    emit_key(w, "maxActApprox");
    if (subject->indexed) {
        emit_rounded(w, (double)subject->dashboard.maxima[hit->index], 5);
        emit_key(w, "frac_nonzero");
        emit_rounded(w, subject_fraction(subject, hit->index), 5);
    } else {
        emit_null(w);
        emit_key(w, "frac_nonzero");
        emit_null(w);
    }
    emit_key(w, "label");
    emit_string(w, hit->label ? hit->label : "");
    emit_key(w, "explanation");
    if (text) {
        emit_string(w, text);
    } else {
        emit_null(w);
    }
    emit_end_object(w);
    memory_free(text);
    return code;
}

static size_t count_indexed(const struct token_search *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_subjects; i++) {
        n += s->subjects[i].indexed;
    }
    return n;
}

static int reply(struct exchange *x, struct token_search *s, struct status *st)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    int code = STATUS_OK;
    emit_object(&w);
    emit_key(&w, "modelId");
    emit_string(&w, engine_model_id(app->engine));
    emit_key(&w, "source");
    if (s->all) {
        emit_null(&w);
    } else {
        emit_string(&w, s->subjects[0].name);
    }
    emit_key(&w, "indexed");
    emit_bool(&w, s->n_subjects > 0 && count_indexed(s) == s->n_subjects);
    emit_key(&w, "notIndexed");
    emit_array(&w);
    for (size_t i = 0; i < s->n_subjects; i++) {
        if (!s->subjects[i].indexed) {
            emit_string(&w, s->subjects[i].name);
        }
    }
    emit_end_array(&w);
    emit_key(&w, "mode");
    emit_string(&w, s->promotes ? "promotes" : "fires");
    emit_key(&w, "token");
    emit_string_n(&w, s->token.data ? s->token.data : "", s->token.length);
    emit_key(&w, "tokenId");
    emit_int(&w, s->id);
    emit_key(&w, "total");
    emit_int(&w, (long long)s->n);
    emit_key(&w, "results");
    emit_array(&w);
    for (size_t i = 0; i < s->n && i < s->limit && !code; i++) {
        code = write_hit(&w, app, s, &s->hits[i], st);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    return code;
}

/* --- requests -------------------------------------------------------------------------------- */

static void token_text(void *user, int32_t id, struct text *out)
{
    engine_token_text(user, id, out);
}

/* `token`: an id, or a text that is one token. */
static void read_token(struct token_search *s, const struct app *app, struct fields *f)
{
    const cJSON *value = fields_need(f, "token");
    size_t vocab = engine_config(app->engine)->vocab_size;
    long long id;
    if (!value) {
        return;
    }
    if (cJSON_IsString(value)) {
        int32_t *ids = NULL;
        size_t n = 0;
        if (!prompts_tokenize(app, value->valuestring, false, "token", &ids, &n, &f->st)) {
            if (n == 1) {
                s->id = ids[0];
            } else {
                status_set(&f->st, STATUS_INVALID,
                           "token: expected one token, found %zu; mind the leading space, or send "
                           "an id",
                           n);
            }
        }
        memory_free(ids);
    } else if (json_integer(value, 0, (long long)vocab - 1, &id)) {
        s->id = (int32_t)id;
    } else if (cJSON_IsNumber(value)) {
        status_set(&f->st, STATUS_INVALID,
                   "token: expected an id of the vocabulary, 0 to %zu, "
                   "found %.15g",
                   vocab - 1, value->valuedouble);
    } else {
        status_set(&f->st, STATUS_UNPROCESSABLE, "token: expected a string or an id, found %s",
                   fields_kind(value));
    }
    if (!f->st.code) {
        engine_token_text(app->engine, s->id, &s->token);
        label_write(&s->quoted, &s->id, 1, NULL, 0, token_text, app->engine);
        if (s->token.failed || s->quoted.failed) {
            status_no_memory(&f->st, s->token.length);
        }
    }
}

/* The source of that name, or without a name every SAE there is. */
static void open_subjects(struct token_search *s, const struct app *app, struct fields *f)
{
    const struct catalogue *c = engine_catalogue(app->engine);
    s->all = !json_get(f->body, "source") && !json_get(f->body, "layer");
    size_t n = s->all ? c->n_sources : 1;
    s->subjects = memory_zalloc(n ? n : 1, sizeof *s->subjects);
    if (!s->subjects) {
        status_no_memory(&f->st, n * sizeof *s->subjects);
        return;
    }
    s->subject = s->subjects;
    s->n_subjects = n;
    if (!s->all) {
        subject_open_fields(s->subjects, app, f);
        (void)(f->st.code || subject_need_sae(s->subjects, &f->st));
        return;
    }
    subject_check_model_field(app, f);
    for (size_t i = 0; i < n && !f->st.code; i++) {
        (void)subject_open(&s->subjects[i], app, engine_model_id(app->engine), c->sources[i].name,
                           &f->st);
    }
}

static void read_search(struct token_search *s, const struct app *app, struct fields *f)
{
    open_subjects(s, app, f);
    (void)fields_need(f, "mode");
    const char *mode = fields_string(f, "mode");
    s->limit = (size_t)fields_integer(f, "limit", 1, LIMIT_MAX, LIMIT_DEFAULT);
    if (mode && !f->st.code) {
        s->promotes = strcmp(mode, "promotes") == 0;
        if (!s->promotes && strcmp(mode, "fires") != 0) {
            status_set(&f->st, STATUS_INVALID,
                       "mode: expected \"fires\" or \"promotes\", found \"%.40s\"", mode);
        }
    }
    read_token(s, app, f);
}

static enum http_next reply_computed(struct exchange *x)
{
    struct features *f = x->state;
    const struct app *app = x->app;
    struct token_search s = {0};
    read_search(&s, app, &f->fields);
    struct status *st = &f->fields.st;
    const struct engine_read *read = &f->await.job->prompts[0].reads[0];
    if (!st->code && !token_hits_computed(&s, app, read->data, read->shape[1], st)) {
        (void)reply(x, &s, st);
    }
    token_hits_free(&s);
    return st->code ? exchange_fail(x, st) : HTTP_DONE;
}

/* Reads the token's embedding, then goes on in reply_computed. */
static enum http_next compute(struct exchange *x, struct features *f, const struct token_search *s)
{
    const struct app *app = x->app;
    const struct gemma_config *config = engine_config(app->engine);
    struct status *st = &f->fields.st;
    const struct sae_source *source = s->subject->source;
    if (source->output == POINT_Z || source->d_out != config->hidden_size ||
        !config->tied_embeddings) {
        status_set(st, STATUS_UNSUPPORTED,
                   "\"%.120s\" does not write to the residual stream of a model with tied "
                   "embeddings, so what it promotes is known only once it was indexed",
                   source->name);
        return exchange_fail(x, st);
    }
    f->prompts.items = memory_zalloc(1, sizeof *f->prompts.items);
    int32_t *ids = memory_alloc(1, sizeof *ids);
    if (!f->prompts.items || !ids) {
        memory_free(ids);
        status_no_memory(st, sizeof *ids);
        return exchange_fail(x, st);
    }
    *ids = s->id;
    f->prompts.items[0] = (struct prompt){.ids = ids, .n_ids = 1};
    f->prompts.n = 1;
    f->prompts.field = "token";
    struct engine_read read = {.kind = READ_POINT, .point = POINT_EMBED};
    return features_read(x, &read, 1, false, reply_computed);
}

enum http_next api_search_token(struct exchange *x)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    struct token_search s = {0};
    struct status *st = &f->fields.st;
    enum http_next next = HTTP_DONE;
    read_search(&s, x->app, &f->fields);
    if (!st->code && s.promotes && !s.all && !s.subjects[0].indexed) {
        next = compute(x, f, &s);
    } else if (st->code || token_hits_stored(&s, x->app, st) || reply(x, &s, st)) {
        next = exchange_fail(x, st);
    }
    token_hits_free(&s);
    return next;
}
