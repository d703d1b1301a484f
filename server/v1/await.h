/* The part of a handler that waits for the model: push a job, be woken when it is done, reply. */
#ifndef DM_V1_AWAIT_H
#define DM_V1_AWAIT_H

#include "server/http/exchange.h"
#include "server/work/queue.h"

/* The first member of the handler's state (x->state), which must be set before. */
struct await {
    struct job *job; /* owned by the state: its free_state calls job_free */
    enum http_next (*reply)(struct exchange *x); /* called once the job succeeded */
};

/* Returns HTTP_WAIT; the job goes to the queue when the transport calls x->start. A job that fails,
 * or finds no room in the queue, is answered with its status. */
enum http_next await_job(struct exchange *x);

#endif
