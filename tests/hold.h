/* Several requests as one batch: the worker is kept busy until all of them wait. */
#ifndef DM_TESTS_HOLD_H
#define DM_TESTS_HOLD_H

#include "tests/v1.h"

#include <pthread.h>
#include <semaphore.h>

/* A job that keeps the worker in its `done` until it is let go: what is asked meanwhile waits in
 * the queue and is taken as one batch. */
struct hold {
    struct job *job;
    sem_t held, go;
};

static inline void hold_done(struct job *job, void *user)
{
    struct hold *h = user;
    (void)job;
    sem_post(&h->held);
    while (sem_wait(&h->go) != 0) {
    }
}

static inline bool hold_worker(struct hold *h, struct v1 *v)
{
    struct status st;
    sem_init(&h->held, 0, 0);
    sem_init(&h->go, 0, 0);
    h->job = job_create(1);
    int32_t *id = memory_alloc(1, sizeof *id);
    if (!h->job || !id) {
        return false;
    }
    id[0] = 2;
    h->job->prompts[0].ids = id;
    h->job->prompts[0].n_ids = 1;
    h->job->done = hold_done;
    h->job->user = h;
    if (queue_push(v->app.queue, h->job, &st)) {
        return false;
    }
    while (sem_wait(&h->held) != 0) {
    }
    return true;
}

static inline void hold_free(struct hold *h)
{
    job_free(h->job);
    sem_destroy(&h->held);
    sem_destroy(&h->go);
}

#endif
