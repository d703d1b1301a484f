/* The way of a handler whose answer is computed in steps (queue.h): a job goes to the queue, the
 * client is answered once at the end, or with a frame after every step. A client that leaves
 * cancels the job.
 *
 * The state of such a handler begins with a struct stepper that stepper_create made; it belongs to
 * the exchange and to the job, and ends with whichever leaves last. */
#ifndef DM_V1_STEPPER_H
#define DM_V1_STEPPER_H

#include "server/app.h"
#include "server/http/exchange.h"

#include <stdatomic.h>

struct stepper {
    atomic_int references;
    struct exchange *x; /* not to be touched once it was woken */
    const struct app *app;
    struct job *job;  /* owned */
    struct status st; /* what the exchange is woken with */
    bool woken;
    struct stream *out; /* with stream: ours to fill */
    struct text text;   /* the frame that is being written */

    /* Set by the handler before stepper_run: */
    bool stream;
    bool frames_repeat;       /* each says again what those before it said: some may be left out */
    const char *content_type; /* of a stream */
    /* On the worker's thread, after each step: appends the frame to `out` (not sent if it stays
     * empty); without a stream, `out` is where the same text is gathered. */
    void (*step)(struct stepper *s, struct text *out, bool last);
    /* With a stream, before the first step, so that nobody waits in silence; may be NULL. */
    void (*begin)(struct stepper *s, struct text *out);
    /* The frame of an error that comes too late for a status. */
    void (*broken)(struct text *out, const struct status *st);
    /* Writes the reply; without a stream only. */
    enum http_next (*reply)(struct stepper *s);
    /* Replies with an error. */
    enum http_next (*fail)(struct stepper *s, const struct status *st);
    /* Frees what the handler's state holds besides this struct; the job is gone already. */
    void (*release)(struct stepper *s);
};

/* Makes a zeroed state of `size` bytes for x; NULL when the response is filled already. */
void *stepper_create(struct exchange *x, size_t size, void (*release)(struct stepper *s));

/* Returns HTTP_WAIT; s->job goes to the queue when the transport is ready. */
enum http_next stepper_run(struct stepper *s);

#endif
