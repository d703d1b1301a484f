/* The index job of a server: one thread that runs one request at a time, beside the requests that
 * are answered. What was asked for and how far it is stands in the table job. */
#ifndef DM_WORK_INDEX_JOBS_H
#define DM_WORK_INDEX_JOBS_H

#include "core/base/json.h"
#include "server/work/indexer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_request {
    cJSON *tree;        /* owns every string below and is kept as the job's request */
    const char *name;   /* of the corpus */
    bool is_demo;       /* the bundled corpus, else the texts */
    const char **texts; /* [n_texts] from core/base/memory.h */
    size_t n_texts;
    const char **sources; /* [n_sources] of the catalogue; likewise */
    size_t n_sources;
    size_t context;
    bool whole_documents, keep_duplicates;
    int64_t limit_tokens; /* 0: none */
    int64_t
        evaluate_tokens; /* of the corpus, over which its SAEs are evaluated at the end; 0: none */
    int64_t seed;
};
void index_request_free(struct index_request *request); /* safe on a zeroed struct */

struct index_jobs;

/* demo: the path of the bundled corpus, copied. Everything else is borrowed. */
int index_jobs_create(struct index_jobs **out, struct engine *engine, struct store *store,
                      struct sources *sources, struct queue *queue, const char *demo,
                      struct status *st);

/* Starts the job, as a new row of the table or (row not 0) as one that was interrupted. The request
 * is taken over, and freed on failure too. STATUS_BUSY while another one runs. */
int index_jobs_start(struct index_jobs *jobs, struct index_request *request, int64_t row,
                     int64_t *id, struct status *st);

/* Stops the job at its next batch; dashboards are made of what is there. STATUS_NOT_FOUND unless it
 * runs in this process. */
int index_jobs_cancel(struct index_jobs *jobs, int64_t id, struct status *st);

/* The job that runs, or ran last, in this process; false if there was none. tokens of total (0:
 * unknown). progress (may be NULL): its JSON is appended. */
struct index_jobs_state {
    int64_t id;
    const char *state; /* "running", "done", "cancelled", "failed", "interrupted" */
    int64_t tokens, total;
};
bool index_jobs_state(struct index_jobs *jobs, struct index_jobs_state *state,
                      struct text *progress);

/* Stops the job at its next batch, without dashboards; it is "interrupted" then. Call before the
 * queue is stopped. Nothing starts any more. */
void index_jobs_stop(struct index_jobs *jobs);
void index_jobs_destroy(struct index_jobs *jobs); /* stops; NULL is fine */

#endif
