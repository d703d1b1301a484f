#include "server/v1/stepper.h"

#include "core/base/memory.h"

/* --- the state's life ------------------------------------------------------------------------- */

static void release(struct stepper *s)
{
    if (atomic_fetch_sub(&s->references, 1) != 1) {
        return;
    }
    job_free(s->job); /* before what it borrows */
    s->release(s);
    stream_release(s->out);
    text_free(&s->text);
    memory_free(s);
}

/* The exchange is over: answered, or its client has left. */
static void leave(void *state)
{
    struct stepper *s = state;
    if (s->job) {
        atomic_store(&s->job->cancel, true);
    }
    release(s);
}

void *stepper_create(struct exchange *x, size_t size, void (*release_rest)(struct stepper *s))
{
    struct stepper *s = memory_zalloc(1, size);
    if (!s) {
        (void)exchange_error(x, 500, "out of memory");
        return NULL;
    }
    atomic_init(&s->references, 1);
    s->x = x;
    s->app = x->app;
    s->release = release_rest;
    x->state = s;
    x->free_state = leave;
    return s;
}

/* --- on the worker's thread ------------------------------------------------------------------- */

static bool send(struct stepper *s, bool needed)
{
    return !s->text.failed &&
           (s->text.length == 0 || stream_frame(s->out, s->text.data, s->text.length, needed));
}

static bool advanced(struct job *job, bool more, void *user)
{
    struct stepper *s = user;
    if (!s->woken && exchange_gone(s->x)) {
        return false;
    }
    if (!s->stream) {
        s->step(s, &s->text, !more);
        return true; /* text that failed is found when the reply is written */
    }
    text_clear(&s->text);
    s->step(s, &s->text, !more);
    stream_begin(s->out, job_queued_us(job));
    bool wanted = send(s, !more || !s->frames_repeat);
    if (!s->woken) {
        s->woken = true;
        exchange_wake(s->x);
    }
    return wanted;
}

/* Before the first frame an error has a status of its own; after it, only words. */
static void done(struct job *job, void *user)
{
    struct stepper *s = user;
    if (s->woken) {
        if (job->st.code) {
            text_clear(&s->text);
            s->broken(&s->text, &job->st);
            (void)send(s, true);
        }
        stream_end(s->out);
    } else {
        s->st = job->st;
        s->x->queued_us = job_queued_us(job);
        exchange_wake(s->x);
    }
    release(s);
}

/* --- on the transport's ----------------------------------------------------------------------- */

static void start(struct exchange *x)
{
    struct stepper *s = x->state;
    struct status st = {0};
    bool begins = s->stream && s->begin;
    if (begins) {
        s->begin(s, &s->text);
        (void)send(s, true);
    }
    s->job->client = x->client;
    s->woken = begins; /* by us, below: from here on the job has the state, too */
    atomic_fetch_add(&s->references, 1);
    if (queue_push(s->app->queue, s->job, &st)) {
        s->st = st;
        release(s);
        exchange_wake(x);
    } else if (begins) {
        exchange_wake(x);
    }
}

static enum http_next resume(struct exchange *x)
{
    struct stepper *s = x->state;
    if (s->st.code) {
        return s->fail(s, &s->st);
    }
    if (!s->stream) {
        return s->reply(s);
    }
    stream_retain(s->out);
    x->stream = s->out;
    x->response.content_type = s->content_type;
    exchange_header(x, "Cache-Control", "no-cache");
    return HTTP_STREAM;
}

enum http_next stepper_run(struct stepper *s)
{
    s->job->advanced = advanced;
    s->job->done = done;
    s->job->user = s;
    s->out = s->stream ? stream_create() : NULL;
    if (s->stream && !s->out) {
        return exchange_error(s->x, 500, "out of memory");
    }
    s->x->start = start;
    s->x->resume = resume;
    return HTTP_WAIT;
}
