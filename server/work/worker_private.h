/* What worker.c (whose turn it is) and worker_keep.c (what is kept of it) share. */
#ifndef DM_WORK_WORKER_PRIVATE_H
#define DM_WORK_WORKER_PRIVATE_H

#include "server/work/turns.h"
#include "server/work/worker.h"

#include <pthread.h>

struct worker {
    struct session *session;
    struct store *store;
    struct sources *sources;
    struct queue *queue;
    size_t budget;       /* tokens of one forward pass */
    struct job *stepped; /* in work step by step, at most STEPS_AT_ONCE */
    size_t n_stepped, positions;
    struct job *large; /* of more than one slice: others run between its slices */
    size_t large_at;   /* its next prompt */
    struct turns turns;
    double answered; /* clock_seconds when the last of a round's prompts was; steps left out */
    pthread_t thread;
};

/* Hands a job back. */
void worker_finish(struct job *job);

/* Keeps the results of jobs that were run, in one transaction, and hands the jobs back. */
void worker_keep(struct worker *worker, struct job *jobs);

#endif
