/* The bounded queue between the HTTP threads and the one worker: a line of prompts to be read, one
 * of work that is done in steps (texts to be continued, lenses, dark matter), and one of background
 * jobs (the indexer's batches), which are taken one at a time, when nobody else waits or the worker
 * says that it is their turn.
 *
 * Clients take turns, by tokens: a job's place in its line is where its client's earlier jobs end,
 * or where the line is now if that is later (start-time fair queueing, Goyal et al. 1996). Whoever
 * asks for much waits behind their own jobs; whoever asks for little is next.
 *
 * Native structs only: tokens, what to read, where to put it. No JSON crosses it. */
#ifndef DM_WORK_QUEUE_H
#define DM_WORK_QUEUE_H

#include "core/engine.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Made by a handler (job_create), handed to the worker by queue_push, given back through done. */
struct job {
    struct engine_prompt *prompts; /* owned, with ids, reads and positions (all of them from
                                      core/base/memory.h); a source's name is the catalogue's */
    size_t n_prompts;
    uint64_t client;    /* who asked; jobs of one client keep their order */
    bool keep;          /* write READ_FEATURES results to the database */
    bool background;    /* gives way to others; its size is how long they may have to wait */
    atomic_bool cancel; /* set by whoever no longer wants the answer */
    struct status st;   /* how it went, when done is called */
    /* Called once, on the worker's thread, after everything is computed and kept. */
    void (*done)(struct job *job, void *user);
    void *user;
    struct job *next; /* the queue's, like turn */
    uint64_t turn;
    double pushed, taken; /* likewise: clock_seconds when it was; 0: not yet */

    /* Instead of prompts to be read: an attribution, which is the handler's. */
    struct attribution *attribution;

    /* What is done in steps, instead: texts to be continued, a lens, or dark matter. Owned. */
    struct generation *generation;
    struct lens_reading *lens;
    struct dark_reading *dark;
    /* Called on the worker's thread after every step (a token, a group of positions); more is false
     * after the last. False: nobody wants the rest. NULL is fine. */
    bool (*advanced)(struct job *job, bool more, void *user);

    /* Work of its own, instead: called once, on the worker's thread, packed with nothing else. */
    int (*run)(struct job *job, struct session *session, struct status *st);
    void *work;         /* run's; not the job's to free */
    size_t work_tokens; /* of all but prompts, for the queue's count */
    size_t positions;   /* of key and value caches that its steps hold */
};

struct queue;

int queue_create(struct queue **queue, size_t capacity_tokens, struct status *st);
void queue_destroy(struct queue *queue); /* must be empty */

/* STATUS_BUSY when the tokens that wait would exceed the capacity, or after queue_stop. But a
 * client who has nothing waiting always finds room for one job, and for more within an equal share:
 * one client's flood cannot fill the queue for the others. On success the job is the queue's.
 * Background jobs take no part in the capacity: whoever sends them has few under way. */
int queue_push(struct queue *queue, struct job *job, struct status *st);

/* What the worker can take on now. */
struct queue_wish {
    size_t tokens; /* of jobs together */
    size_t steps;  /* jobs done in steps */
    /* Cache positions of those: what is left of how many. A job that has more than all is taken
     * when all of them are left. */
    size_t positions, all_positions;
    bool large;      /* a job of more than so many tokens, alone; false: those are passed over */
    bool background; /* a background job before all others, alone */
};

/* Waits for work and takes, in order of their turns, as many jobs as are wished for, as a linked
 * list; or else one background job; NULL once queue_stop was called and nothing is left. */
struct job *queue_take(struct queue *queue, struct queue_wish wish);

/* The same without waiting, and without background jobs that are not wished for: NULL if nothing
 * else is there. */
struct job *queue_poll(struct queue *queue, struct queue_wish wish);

bool queue_stopped(struct queue *queue);
void queue_stop(struct queue *queue); /* push fails from now on; take drains */
/* What waits is not to be run any more, only handed back. From any thread. */
void queue_abandon(struct queue *queue);
bool queue_abandoned(const struct queue *queue);
size_t queue_depth(const struct queue *queue);  /* jobs that wait, background ones left out */
size_t queue_tokens(const struct queue *queue); /* their tokens */

struct job *job_create(size_t n_prompts); /* empty prompts, to be filled; NULL without memory */
size_t job_tokens(const struct job *job);
bool job_has_steps(const struct job *job);
int64_t job_queued_us(const struct job *job); /* microseconds that it waited until it was taken */
void job_free(struct job *job);               /* with ids, reads and their results; NULL is fine */

#endif
