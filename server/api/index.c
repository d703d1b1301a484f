/* POST /api/index, GET /api/index, POST /api/index/cancel: the index job. Only the bundled corpus
 * and texts in the request can be indexed from here; files are for the command line. */
#include "server/api/index.h"

#include "core/base/hash.h"
#include "core/base/memory.h"
#include "server/api/routes.h"
#include "server/http/emit.h"
#include "server/store/dashboards.h"
#include "server/store/documents.h"
#include "server/v1/fields.h"
#include "server/work/index_jobs.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 200, JOBS_SHOWN = 50, CONTEXT = 128 };

/* --- the request ------------------------------------------------------------------------------ */

static const char **strings(struct fields *f, const char *name, size_t *n)
{
    const cJSON *list = fields_array(f, name);
    *n = list ? (size_t)cJSON_GetArraySize(list) : 0;
    const char **out = memory_alloc(*n, sizeof *out);
    if (!out) {
        status_no_memory(&f->st, *n * sizeof *out);
        return NULL;
    }
    size_t i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "%s: entry %zu: expected a string, found %s",
                       name, i, fields_kind(item));
            break;
        }
        out[i++] = item->valuestring;
    }
    return out;
}

/* The names of the catalogue for those asked for, each once; all of them for none. */
static void choose_sources(const struct app *app, struct fields *f, struct index_request *r)
{
    const struct catalogue *c = engine_catalogue(app->engine);
    r->sources = strings(f, "sources", &r->n_sources);
    size_t n = 0;
    for (size_t i = 0; i < r->n_sources && !f->st.code; i++) {
        const struct sae_source *s = catalogue_find(c, r->sources[i]);
        bool again = false;
        for (size_t j = 0; s && j < n; j++) {
            again = again || strcmp(r->sources[j], s->name) == 0;
        }
        if (!s) {
            status_set(&f->st, STATUS_NOT_FOUND, "sources: there is no source \"%.120s\"",
                       r->sources[i]);
        } else if (!again) {
            r->sources[n++] = s->name;
        }
    }
    if (!f->st.code && r->n_sources == 0) {
        memory_free(r->sources);
        r->sources = memory_alloc(c->n_sources, sizeof *r->sources);
        for (; r->sources && n < c->n_sources; n++) {
            r->sources[n] = c->sources[n].name;
        }
    }
    r->n_sources = n;
    if (!f->st.code && (!r->sources || n == 0)) {
        status_set(&f->st, STATUS_NOT_FOUND, "sources: this server has none");
    }
}

/* Texts without a name of their own are named after their contents: other texts, another corpus. */
static void choose_name(struct fields *f, struct index_request *r)
{
    const char *name = fields_string(f, "name");
    if (name && (!*name || strlen(name) > NAME_BYTES)) {
        status_set(&f->st, STATUS_INVALID, "name: expected 1 to %d bytes", NAME_BYTES);
    }
    if (name || f->st.code) {
        r->name = name;
        return;
    }
    char made[64] = "demo-corpus.jsonl";
    if (!r->is_demo) {
        struct hash h = hash_start();
        char hex[HASH_HEX];
        for (size_t i = 0; i < r->n_texts; i++) {
            hash_add(&h, r->texts[i], strlen(r->texts[i]) + 1);
        }
        hash_hex(h, hex);
        (void)snprintf(made, sizeof made, "texts-%.12s", hex);
    }
    cJSON *node = cJSON_AddStringToObject(r->tree, "name", made);
    if (node) {
        r->name = node->valuestring;
    } else {
        status_no_memory(&f->st, sizeof made);
    }
}

/* Reads the fields; tree becomes the request's, also on failure. */
static int read_request(const struct app *app, cJSON *tree, struct index_request *r,
                        struct status *st)
{
    struct fields f = {.body = tree};
    *r = (struct index_request){.tree = tree};
    const char *corpus = fields_string(&f, "corpus");
    r->texts = strings(&f, "texts", &r->n_texts);
    r->is_demo = corpus != NULL;
    if (!f.st.code && (corpus != NULL) == (r->n_texts > 0)) {
        status_set(&f.st, STATUS_UNPROCESSABLE,
                   "corpus: send {\"corpus\": \"demo\"} or {\"texts\": [\"...\"]}");
    } else if (!f.st.code && corpus && strcmp(corpus, "demo") != 0) {
        status_set(&f.st, STATUS_INVALID,
                   "corpus: only \"demo\" can be indexed over HTTP, found \"%.80s\"; for files use "
                   "darkmatter index",
                   corpus);
    }
    choose_sources(app, &f, r);
    choose_name(&f, r);
    long long positions = (long long)engine_config(app->engine)->max_positions;
    r->context = (size_t)fields_integer(&f, "context", 2, positions,
                                        positions < CONTEXT ? positions : CONTEXT);
    r->whole_documents = !fields_bool(&f, "pack", true);
    r->keep_duplicates = fields_bool(&f, "keep_duplicates", false);
    r->limit_tokens = fields_integer(&f, "limit_tokens", 1, 1LL << 50, 0);
    r->evaluate_tokens = fields_integer(&f, "evaluate_tokens", 0, 1LL << 50, 0);
    r->seed = fields_integer(&f, "seed", 0, 1LL << 50, 0);
    *st = f.st;
    return (int)f.st.code;
}

static int start(struct app *app, cJSON *tree, int64_t row, int64_t *id, struct status *st)
{
    struct index_request r;
    int code = read_request(app, tree, &r, st);
    if (code) {
        index_request_free(&r);
        return code;
    }
    return index_jobs_start(app->index_jobs, &r, row, id, st);
}

enum http_next api_index_start(struct exchange *x)
{
    struct app *app = x->app;
    struct status st = {0};
    int64_t id;
    cJSON *tree = exchange_json(x);
    if (!tree) {
        return HTTP_DONE;
    }
    if (start(app, tree, 0, &id, &st)) {
        return exchange_fail(x, &st);
    }
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "id");
    emit_int(&w, id);
    emit_key(&w, "state");
    emit_string(&w, "running");
    emit_end_object(&w);
    return HTTP_DONE;
}

enum http_next api_index_cancel(struct exchange *x)
{
    struct app *app = x->app;
    cJSON *tree = exchange_json(x);
    if (!tree) {
        return HTTP_DONE;
    }
    struct fields f = {.body = tree};
    (void)fields_need(&f, "id");
    long long id = fields_integer(&f, "id", 1, 1LL << 50, 0);
    cJSON_Delete(tree);
    if (f.st.code || index_jobs_cancel(app->index_jobs, id, &f.st)) {
        return exchange_fail(x, &f.st);
    }
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "id");
    emit_int(&w, id);
    emit_end_object(&w);
    return HTTP_DONE;
}

/* --- the list --------------------------------------------------------------------------------- */

struct listing {
    struct emitter w;
    struct index_jobs_state live;
    bool any_live;
    struct text progress; /* of the live one */
};

/* What was asked for, with the texts counted instead of repeated. */
static void write_request(struct emitter *w, const char *request)
{
    struct status st;
    cJSON *tree;
    char *json = NULL;
    if (json_parse(&tree, request, strlen(request), "request", &st) == STATUS_OK) {
        const cJSON *texts = json_get(tree, "texts");
        if (texts) {
            (void)cJSON_AddNumberToObject(tree, "numTexts", cJSON_GetArraySize(texts));
            cJSON_DeleteItemFromObjectCaseSensitive(tree, "texts");
        }
        json = cJSON_PrintUnformatted(tree);
        cJSON_Delete(tree);
    }
    if (json) {
        emit_raw(w, json, strlen(json));
        cJSON_free(json);
    } else {
        emit_null(w);
    }
}

static int write_job(void *user, const struct store_job *job)
{
    struct listing *l = user;
    struct emitter *w = &l->w;
    bool live = l->any_live && l->live.id == job->id && !l->progress.failed;
    if (strcmp(job->kind, "index") != 0) {
        return 0;
    }
    emit_object(w);
    emit_key(w, "id");
    emit_int(w, job->id);
    emit_key(w, "state");
    emit_string(w, live ? l->live.state : job->state);
    emit_key(w, "request");
    write_request(w, job->request);
    emit_key(w, "progress");
    if (live) {
        emit_raw(w, l->progress.data, l->progress.length);
    } else {
        write_request(w, job->progress);
    }
    emit_key(w, "error");
    emit_string(w, job->error);
    emit_key(w, "startedAt");
    emit_string(w, job->started_at);
    emit_key(w, "changedAt");
    emit_string(w, job->changed_at);
    emit_end_object(w);
    return 0;
}

enum http_next api_index_list(struct exchange *x)
{
    struct app *app = x->app;
    struct listing l = {.w = {.out = &x->response.body}};
    struct status st = {0};
    l.any_live = index_jobs_state(app->index_jobs, &l.live, &l.progress);
    emit_object(&l.w);
    emit_key(&l.w, "jobs");
    emit_array(&l.w);
    int code = store_jobs(app->store, JOBS_SHOWN, write_job, &l, &st);
    text_free(&l.progress);
    if (code) {
        text_clear(&x->response.body);
        return exchange_fail(x, &st);
    }
    emit_end_array(&l.w);
    emit_end_object(&l.w);
    return HTTP_DONE;
}

/* --- when the server starts ------------------------------------------------------------------- */

struct last_job {
    int64_t id; /* 0: there is none */
    bool interrupted;
    struct text request;
};

static int take_last(void *user, const struct store_job *job)
{
    struct last_job *last = user;
    if (last->id || strcmp(job->kind, "index") != 0) {
        return 0;
    }
    last->id = job->id;
    last->interrupted = strcmp(job->state, "interrupted") == 0;
    text_string(&last->request, job->request);
    return 0;
}

static int has_dashboard(struct app *app, bool *any, struct status *st)
{
    const struct catalogue *c = engine_catalogue(app->engine);
    *any = false;
    for (size_t i = 0; i < c->n_sources && !*any; i++) {
        struct store_dashboard dashboard;
        int64_t row;
        if (sources_row(app->sources, c->sources[i].name, &row, st) ||
            store_read_dashboard(app->store, row, &dashboard, any, st)) {
            return (int)st->code;
        }
        store_dashboard_free(&dashboard);
    }
    return STATUS_OK;
}

static int start_json(struct app *app, const char *json, int64_t row, struct status *st)
{
    cJSON *tree;
    int64_t id;
    int code = json_parse(&tree, json, strlen(json), "request", st);
    return code ? code : start(app, tree, row, &id, st);
}

int index_on_start(struct app *app, bool goes_on, bool first_start, struct status *st)
{
    struct last_job last = {0};
    char first[96];
    bool any = true;
    int code = store_jobs_recover(app->store, st);
    code = code ? code : store_jobs(app->store, JOBS_SHOWN, take_last, &last, st);
    /* Runs of the command line are the command line's to go on with. */
    bool own = last.id && !last.request.failed && !strstr(last.request.data, "\"command\"");
    if (!code && goes_on && last.interrupted && own) {
        code = start_json(app, last.request.data, last.id, st);
    } else if (!code && goes_on && first_start && !last.id) {
        code = has_dashboard(app, &any, st);
        (void)snprintf(first, sizeof first,
                       "{\"corpus\":\"demo\",\"limit_tokens\":%d,\"evaluate_tokens\":%d}",
                       INDEX_FIRST_TOKENS, INDEX_FIRST_EVALUATED);
        code = code || any ? code : start_json(app, first, 0, st);
    }
    text_free(&last.request);
    return code;
}
