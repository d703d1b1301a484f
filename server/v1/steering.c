#include "server/v1/steering.h"

#include "core/base/memory.h"

#include <string.h>

/* --- the state's life ------------------------------------------------------------------------- */

static void release(struct steering *s)
{
    if (atomic_fetch_sub(&s->references, 1) != 1) {
        return;
    }
    job_free(s->job); /* before what its generation borrows */
    edit_list_free(&s->edits);
    prompts_free(&s->prompts);
    for (int i = 0; i < STEERING_TYPES; i++) {
        conversation_free(&s->conversations[i]);
    }
    memory_free(s->sources);
    stream_release(s->out);
    text_free(&s->frame);
    cJSON_Delete(s->body);
    memory_free(s);
}

/* The exchange is over: answered, or its client has left. */
static void leave(void *state)
{
    struct steering *s = state;
    if (s->job) {
        atomic_store(&s->job->cancel, true);
    }
    release(s);
}

struct steering *steering_create(struct exchange *x,
                                 void (*write)(struct emitter *w, const struct steering *s))
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return NULL;
    }
    struct steering *s = memory_zalloc(1, sizeof *s);
    if (!s) {
        cJSON_Delete(body);
        (void)exchange_error(x, 500, "out of memory");
        return NULL;
    }
    atomic_init(&s->references, 1);
    s->x = x;
    s->app = x->app;
    s->body = body;
    s->fields.body = body;
    s->write = write;
    x->state = s;
    x->free_state = leave;
    return s;
}

static enum http_next fail(struct exchange *x, const struct steering *s, const struct status *st)
{
    (void)exchange_fail(x, st);
    if (s->says_message) {
        struct emitter w = {.out = &x->response.body};
        text_clear(&x->response.body);
        emit_object(&w);
        emit_key(&w, "error");
        emit_string(&w, st->message);
        emit_key(&w, "message");
        emit_string(&w, st->message);
        emit_end_object(&w);
    }
    return HTTP_DONE;
}

/* --- on the worker's thread ------------------------------------------------------------------- */

/* "data: {...}\n\n": the reply so far, or what went wrong. */
static bool send_frame(struct steering *s, const struct status *error, bool last)
{
    struct emitter w = {.out = &s->frame};
    text_clear(&s->frame);
    text_string(&s->frame, "data: ");
    if (error) {
        emit_object(&w);
        emit_key(&w, "error");
        emit_string(&w, error->message);
        emit_end_object(&w);
    } else {
        s->write(&w, s);
    }
    text_string(&s->frame, "\n\n");
    return !s->frame.failed && stream_frame(s->out, s->frame.data, s->frame.length, last);
}

static bool advanced(struct job *job, bool more, void *user)
{
    (void)job;
    struct steering *s = user;
    if (!s->woken && exchange_gone(s->x)) {
        return false;
    }
    if (!s->stream) {
        return true;
    }
    bool wanted = send_frame(s, NULL, !more);
    if (!s->woken) {
        s->woken = true;
        exchange_wake(s->x);
    }
    return wanted;
}

/* Before the first frame an error has a status of its own; after it, only words. */
static void done(struct job *job, void *user)
{
    struct steering *s = user;
    if (s->woken) {
        if (job->st.code) {
            (void)send_frame(s, &job->st, true);
        }
        stream_end(s->out);
    } else {
        s->st = job->st;
        exchange_wake(s->x);
    }
    release(s);
}

/* --- on the transport's ----------------------------------------------------------------------- */

static void start(struct exchange *x)
{
    struct steering *s = x->state;
    struct status st = {0};
    atomic_fetch_add(&s->references, 1);
    s->job->client = x->client;
    if (queue_push(s->app->queue, s->job, &st)) {
        s->st = st;
        release(s);
        exchange_wake(x);
    }
}

static enum http_next resume(struct exchange *x)
{
    struct steering *s = x->state;
    if (s->st.code) {
        return fail(x, s, &s->st);
    }
    if (s->stream) {
        stream_retain(s->out);
        x->stream = s->out;
        x->response.content_type = "text/event-stream; charset=utf-8";
        exchange_header(x, "Cache-Control", "no-cache");
        return HTTP_STREAM;
    }
    struct emitter w = {.out = &x->response.body};
    s->write(&w, s);
    return HTTP_DONE;
}

/* One text a type that is wanted. */
static int make_job(struct steering *s, struct status *st)
{
    size_t n = 0;
    for (int type = 0; type < STEERING_TYPES; type++) {
        if (!s->wants[type]) {
            continue;
        }
        struct generation_start *text = &s->starts[n];
        text->ids = s->is_chat ? s->conversations[type].ids : s->prompts.items[0].ids;
        text->n_ids = s->is_chat ? s->conversations[type].n_ids : s->prompts.items[0].n_ids;
        if (type == STEERING_STEERED) {
            text->edits = s->edits.items;
            text->n_edits = s->edits.n;
        }
        s->start_of[type] = n++;
    }
    s->options.starts = s->starts;
    s->options.n_starts = n;
    s->options.stop_ids = s->stop_ids;
    s->options.n_stop_ids = engine_stop_ids(s->app->engine, s->is_chat, s->stop_ids);
    s->job = job_create(0);
    s->out = s->stream ? stream_create() : NULL;
    if (!s->job || (s->stream && !s->out)) {
        return status_no_memory(st, sizeof *s->job);
    }
    s->job->advanced = advanced;
    s->job->done = done;
    s->job->user = s;
    for (size_t i = 0; i < n; i++) {
        s->job->generation_tokens += s->starts[i].n_ids;
    }
    return generation_open(&s->job->generation, s->app->engine, &s->options, st);
}

enum http_next steering_run(struct exchange *x, struct steering *s)
{
    struct status *st = &s->fields.st;
    if (st->code || make_job(s, st)) {
        return fail(x, s, st);
    }
    x->start = start;
    x->resume = resume;
    return HTTP_WAIT;
}
