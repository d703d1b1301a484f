#include "server/work/index_jobs.h"

#include "core/base/memory.h"
#include "server/store/documents.h"
#include "server/work/evaluator.h"
#include "server/work/index_progress.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct index_jobs {
    struct engine *engine;
    struct store *store;
    struct sources *sources;
    struct queue *queue;
    char *demo;
    pthread_mutex_t lock; /* guards what follows */
    bool started;         /* there is a thread to be joined */
    bool stopped;         /* nothing starts any more */
    struct index_jobs_state state;
    struct indexer_progress progress;
    struct index_request request; /* the thread's own while it runs */
    pthread_t thread;
    atomic_bool cancel, abandon;
    double kept; /* when the table was last told */
};

void index_request_free(struct index_request *r)
{
    cJSON_Delete(r->tree);
    memory_free(r->texts);
    memory_free(r->sources);
    *r = (struct index_request){0};
}

int index_jobs_create(struct index_jobs **out, struct engine *engine, struct store *store,
                      struct sources *sources, struct queue *queue, const char *demo,
                      struct status *st)
{
    struct index_jobs *jobs = memory_zalloc(1, sizeof *jobs);
    *out = NULL;
    if (!jobs || !(jobs->demo = memory_string(demo))) {
        memory_free(jobs);
        return status_no_memory(st, sizeof *jobs);
    }
    jobs->engine = engine;
    jobs->store = store;
    jobs->sources = sources;
    jobs->queue = queue;
    atomic_init(&jobs->cancel, false);
    atomic_init(&jobs->abandon, false);
    pthread_mutex_init(&jobs->lock, NULL);
    *out = jobs;
    return STATUS_OK;
}

/* --- the thread ------------------------------------------------------------------------------- */

static void keep(struct index_jobs *jobs, int64_t id, const char *state,
                 const struct indexer_progress *p, const char *error)
{
    struct text json = {0};
    struct status st = {0};
    index_progress_json(p, &json);
    if (!json.failed) { /* a row that lags behind is no reason to stop */
        (void)store_job_update(jobs->store, id, state, json.data, error, &st);
    }
    text_free(&json);
}

static void take_progress(void *user, const struct indexer_progress *p)
{
    struct index_jobs *jobs = user;
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    pthread_mutex_lock(&jobs->lock);
    int64_t id = jobs->state.id;
    if (p->source) { /* the tokens stay as they were */
        jobs->progress.phase = p->phase;
        jobs->progress.source = p->source;
        jobs->progress.features = p->features;
        jobs->progress.of_features = p->of_features;
    } else if (p->of_evaluated) {
        jobs->progress.phase = p->phase;
        jobs->progress.source = NULL;
        jobs->progress.evaluated = p->evaluated;
        jobs->progress.of_evaluated = p->of_evaluated;
        jobs->progress.tokens_per_second = p->tokens_per_second;
        jobs->progress.seconds_left = p->seconds_left;
    } else if (strcmp(p->phase, "waiting") == 0) {
        jobs->progress.phase = p->phase;
    } else {
        jobs->progress = *p;
    }
    jobs->state.tokens = jobs->progress.tokens;
    jobs->state.total = jobs->progress.total_tokens;
    struct indexer_progress copy = jobs->progress;
    pthread_mutex_unlock(&jobs->lock);
    if ((double)t.tv_sec - jobs->kept >= 1.0) { /* only this thread uses it */
        jobs->kept = (double)t.tv_sec;
        keep(jobs, id, "running", &copy, NULL);
    }
}

static struct corpus_options corpus_of(const struct index_jobs *jobs, int64_t limit_tokens)
{
    const struct index_request *r = &jobs->request;
    return (struct corpus_options){.path = r->is_demo ? jobs->demo : NULL,
                                   .texts = r->texts,
                                   .n_texts = r->n_texts,
                                   .context = r->context,
                                   .whole_documents = r->whole_documents,
                                   .keep_duplicates = r->keep_duplicates,
                                   .limit_tokens = limit_tokens};
}

static int index_all(struct index_jobs *jobs, struct status *st)
{
    const struct index_request *r = &jobs->request;
    const struct indexer ix = {.engine = jobs->engine,
                               .store = jobs->store,
                               .sources = jobs->sources,
                               .queue = jobs->queue,
                               .names = r->sources,
                               .n_names = r->n_sources,
                               .seed = r->seed,
                               .cancel = &jobs->cancel,
                               .abandon = &jobs->abandon,
                               .progress = take_progress,
                               .user = jobs};
    const struct corpus_options options = corpus_of(jobs, r->limit_tokens);
    struct corpus_figures figures;
    struct status own = {0};
    int code = indexer_read(&ix, &options, r->name, &figures, st);
    int late = atomic_load(&jobs->abandon) ? STATUS_OK : indexer_dashboards(&ix, &own);
    if (!code && late) {
        *st = own;
    }
    return code ? code : late;
}

static void take_evaluation(void *user, const struct evaluator_progress *p)
{
    const struct index_jobs *jobs = user;
    const struct indexer_progress progress = {.phase = "evaluation",
                                              .evaluated = p->tokens,
                                              .of_evaluated = jobs->request.evaluate_tokens,
                                              .tokens_per_second = p->tokens_per_second,
                                              .seconds_left = p->seconds_left};
    take_progress(user, &progress);
}

/* The SAEs among the sources, so that their report pages are there without a command. */
static int evaluate(struct index_jobs *jobs, struct status *st)
{
    const struct index_request *r = &jobs->request;
    const char **names = memory_alloc(r->n_sources, sizeof *names);
    struct evaluator ev = {.engine = jobs->engine,
                           .store = jobs->store,
                           .sources = jobs->sources,
                           .queue = jobs->queue,
                           .names = names,
                           .cancel = &jobs->cancel,
                           .progress = take_evaluation,
                           .user = jobs};
    const struct corpus_options options = corpus_of(jobs, r->evaluate_tokens);
    int64_t corpus;
    for (size_t i = 0; names && i < r->n_sources; i++) {
        if (sources_keeps(jobs->sources, r->sources[i])) {
            names[ev.n_names++] = r->sources[i];
        }
    }
    int code = names ? evaluator_run(&ev, &options, r->name, &corpus, st)
                     : status_no_memory(st, r->n_sources * sizeof *names);
    memory_free(names);
    return code;
}

static void *work(void *argument)
{
    struct index_jobs *jobs = argument;
    struct status st = {0};
    int code = index_all(jobs, &st);
    code = code || !jobs->request.evaluate_tokens ? code : evaluate(jobs, &st);
    const char *state = !code                         ? "done"
                        : code != STATUS_CANCELLED    ? "failed"
                        : atomic_load(&jobs->abandon) ? "interrupted"
                                                      : "cancelled";
    pthread_mutex_lock(&jobs->lock);
    int64_t id = jobs->state.id;
    struct indexer_progress last = jobs->progress;
    pthread_mutex_unlock(&jobs->lock);
    keep(jobs, id, state, &last, code == STATUS_CANCELLED || !code ? NULL : st.message);
    pthread_mutex_lock(&jobs->lock);
    index_request_free(&jobs->request);
    jobs->progress.source = NULL; /* it was the request's */
    jobs->state.state = state;
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

/* --- from the handlers ------------------------------------------------------------------------ */

/* The job's row: a new one, or one that goes on. */
static int open_row(struct index_jobs *jobs, const struct index_request *request, int64_t row,
                    int64_t *id, struct status *st)
{
    if (row) {
        *id = row;
        return store_job_update(jobs->store, row, "running", NULL, NULL, st);
    }
    char *json = cJSON_PrintUnformatted(request->tree);
    if (!json) {
        return status_no_memory(st, 1024);
    }
    int code = store_job_start(jobs->store, "index", json, id, st);
    cJSON_free(json);
    return code;
}

/* With the lock held. */
static int launch(struct index_jobs *jobs, struct index_request *request, int64_t row, int64_t *id,
                  struct status *st)
{
    if (jobs->stopped) {
        return status_set(st, STATUS_BUSY, "the server is stopping and takes no new work");
    }
    if (jobs->state.state && strcmp(jobs->state.state, "running") == 0) {
        return status_set(st, STATUS_BUSY,
                          "index job %lld runs: wait for it, or cancel it with POST "
                          "/api/index/cancel",
                          (long long)jobs->state.id);
    }
    if (jobs->started) {
        (void)pthread_join(jobs->thread, NULL); /* it has said its last word */
        jobs->started = false;
    }
    int code = open_row(jobs, request, row, id, st);
    if (code) {
        return code;
    }
    jobs->request = *request;
    *request = (struct index_request){0};
    jobs->progress = (struct indexer_progress){.phase = "activations", .seconds_left = -1.0};
    jobs->state = (struct index_jobs_state){.id = *id, .state = "running"};
    jobs->kept = 0.0;
    atomic_store(&jobs->cancel, false);
    int error = pthread_create(&jobs->thread, NULL, work, jobs);
    jobs->started = error == 0;
    if (error) {
        index_request_free(&jobs->request);
        jobs->state.state = "failed";
        return status_set(st, STATUS_IO, "the index job's thread cannot be started: %s",
                          strerror(error));
    }
    return STATUS_OK;
}

int index_jobs_start(struct index_jobs *jobs, struct index_request *request, int64_t row,
                     int64_t *id, struct status *st)
{
    pthread_mutex_lock(&jobs->lock);
    int code = launch(jobs, request, row, id, st);
    pthread_mutex_unlock(&jobs->lock);
    index_request_free(request);
    return code;
}

int index_jobs_cancel(struct index_jobs *jobs, int64_t id, struct status *st)
{
    pthread_mutex_lock(&jobs->lock);
    bool runs =
        jobs->state.id == id && jobs->state.state && strcmp(jobs->state.state, "running") == 0;
    if (runs) {
        atomic_store(&jobs->cancel, true);
    }
    pthread_mutex_unlock(&jobs->lock);
    return runs
               ? STATUS_OK
               : status_set(st, STATUS_NOT_FOUND, "id: no index job %lld runs here", (long long)id);
}

bool index_jobs_state(struct index_jobs *jobs, struct index_jobs_state *state,
                      struct text *progress)
{
    pthread_mutex_lock(&jobs->lock);
    bool any = jobs->state.state != NULL;
    *state = jobs->state;
    if (any && progress) {
        index_progress_json(&jobs->progress, progress);
    }
    pthread_mutex_unlock(&jobs->lock);
    return any;
}

void index_jobs_stop(struct index_jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    jobs->stopped = true;
    bool join = jobs->started;
    jobs->started = false;
    pthread_mutex_unlock(&jobs->lock);
    atomic_store(&jobs->abandon, true);
    atomic_store(&jobs->cancel, true); /* an evaluation knows no other flag */
    if (join) {
        (void)pthread_join(jobs->thread, NULL);
    }
}

void index_jobs_destroy(struct index_jobs *jobs)
{
    if (jobs) {
        index_jobs_stop(jobs);
        pthread_mutex_destroy(&jobs->lock);
        memory_free(jobs->demo);
        memory_free(jobs);
    }
}
