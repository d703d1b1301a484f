/* POST /v1/trace: the activation cache of TransformerLens over HTTP (docs/api.md, "trace").
 *
 * {prompt | tokens, read: [names], positions: "all" | [ints, negative from the end], top: n,
 *  edits: [...], format: "json" | "safetensors"} -> one tensor a name, and the token ids beside
 * them. */
#include "core/base/memory.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"
#include "server/v1/trace_private.h"

#include <string.h>

/* Characters that a float32 takes in JSON, about. */
#define JSON_FLOAT_BYTES 11

static void trace_free(void *state)
{
    struct trace *t = state;
    job_free(t->await.job);
    memory_free(t->names);
    memory_free(t->reads);
    memory_free(t->positions);
    prompts_free(&t->prompts);
    edit_list_free(&t->edits);
    cJSON_Delete(t->body);
    memory_free(t);
}

/* Bytes of the reply, from the shapes alone: nothing is copied or computed for one that would be
 * too large. */
static int reply_bytes(struct trace *t, const struct app *app, uint64_t *bytes)
{
    *bytes = 0;
    const struct prompt *item = &t->prompts.items[0];
    const struct engine_prompt prompt = {.ids = item->ids, .n_ids = item->n_ids};
    for (size_t i = 0; i < t->n_reads; i++) {
        struct engine_read read = t->reads[i];
        read.positions = t->positions;
        read.n_positions = t->n_positions;
        uint64_t one;
        int code = engine_read_size(app->engine, &prompt, &read, &one, &t->fields.st);
        if (code) {
            return code;
        }
        one = t->safetensors ? one : one / sizeof(float) * JSON_FLOAT_BYTES;
        if (__builtin_add_overflow(*bytes, one, bytes)) {
            *bytes = UINT64_MAX;
        }
    }
    return STATUS_OK;
}

static int32_t *copy_ids(const int32_t *ids, size_t n)
{
    int32_t *copy = memory_alloc(n, sizeof *copy);
    if (copy) {
        memcpy(copy, ids, n * sizeof *copy);
    }
    return copy;
}

/* Gives the reads and the ids to a job; every read has positions of its own. */
static int make_job(struct trace *t)
{
    struct status *st = &t->fields.st;
    struct job *job = job_create(1);
    t->await.job = job;
    if (!job) {
        return status_no_memory(st, sizeof *job);
    }
    struct engine_prompt *prompt = &job->prompts[0];
    prompt->n_ids = t->prompts.items[0].n_ids;
    prompt->ids = copy_ids(t->prompts.items[0].ids, prompt->n_ids);
    prompt->reads = t->reads;
    prompt->n_reads = t->n_reads;
    prompt->edits = t->edits.items;
    prompt->n_edits = t->edits.n;
    t->reads = NULL;
    bool ok = prompt->ids != NULL;
    for (size_t i = 0; ok && t->positions && i < t->n_reads; i++) {
        prompt->reads[i].positions = copy_ids(t->positions, t->n_positions);
        prompt->reads[i].n_positions = t->n_positions;
        ok = prompt->reads[i].positions != NULL;
    }
    return ok ? STATUS_OK : status_no_memory(st, prompt->n_ids * sizeof(int32_t));
}

static enum http_next reply(struct exchange *x)
{
    return trace_reply(x, x->state);
}

enum http_next trace(struct exchange *x)
{
    const struct app *app = x->app;
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct trace *t = memory_zalloc(1, sizeof *t);
    if (!t) {
        cJSON_Delete(body);
        return exchange_error(x, 500, "out of memory");
    }
    t->body = body;
    t->fields.body = body;
    t->await.reply = reply;
    x->state = t;
    x->free_state = trace_free;

    trace_request(t, app);
    uint64_t bytes = 0;
    if (t->fields.st.code || reply_bytes(t, app, &bytes)) {
        return exchange_fail(x, &t->fields.st);
    }
    if (!reply_fits(x, bytes)) {
        return HTTP_DONE;
    }
    return make_job(t) ? exchange_fail(x, &t->fields.st) : await_job(x);
}
