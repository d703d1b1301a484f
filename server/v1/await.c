#include "server/v1/await.h"

#include "server/app.h"

static void job_done(struct job *job, void *user)
{
    struct exchange *x = user;
    x->queued_us = job_queued_us(job);
    exchange_wake(x);
}

static void start(struct exchange *x)
{
    struct await *await = x->state;
    const struct app *app = x->app;
    struct job *job = await->job;
    struct status st = {0};
    job->done = job_done;
    job->user = x;
    job->client = x->client;
    if (queue_push(app->queue, job, &st)) {
        job->st = st; /* still ours: it was not taken */
        exchange_wake(x);
    }
}

static enum http_next resume(struct exchange *x)
{
    struct await *await = x->state;
    return await->job->st.code ? exchange_fail(x, &await->job->st) : await->reply(x);
}

enum http_next await_job(struct exchange *x)
{
    x->start = start;
    x->resume = resume;
    return HTTP_WAIT;
}
