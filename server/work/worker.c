#include "server/work/worker.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/work/turns.h"

#include <pthread.h>
#include <string.h>

/* Texts in work at the same time; more wait in the queue, without memory of their own. */
#define GENERATIONS_AT_ONCE 4
/* Prompts of up to this part of the budget need not wait while it is the texts' turn. */
#define SMALL_PART 8

struct worker {
    struct session *session;
    struct store *store;
    struct sources *sources;
    struct queue *queue;
    size_t budget;           /* tokens of one forward pass */
    struct job *generations; /* in work step by step, at most GENERATIONS_AT_ONCE */
    size_t n_generations;
    struct job *large; /* of more than one slice: others run between its slices */
    size_t large_at;   /* its next prompt */
    struct turns turns;
    pthread_t thread;
};

/* One past the last prompt of the slice that starts at `begin`: at most `budget` tokens, or a
 * single prompt. In slices one large request needs no more scratch memory than many small ones. */
static size_t slice_end(const struct worker *worker, const struct engine_prompt *prompts, size_t n,
                        size_t begin)
{
    size_t tokens = prompts[begin].n_ids;
    size_t end = begin + 1;
    while (end < n && tokens < worker->budget && prompts[end].n_ids <= worker->budget - tokens) {
        tokens += prompts[end++].n_ids;
    }
    return end;
}

static int trace(struct worker *worker, struct engine_prompt *prompts, size_t n,
                 const atomic_bool *cancel, struct status *st)
{
    int code = STATUS_OK;
    for (size_t begin = 0, end = 0; begin < n && !code; begin = end) {
        end = slice_end(worker, prompts, n, begin);
        code = engine_trace(worker->session, prompts + begin, end - begin, cancel, st);
    }
    return code;
}

static void run_alone(struct worker *worker, struct job *job)
{
    for (size_t i = 0; i < job->n_prompts; i++) {
        for (size_t r = 0; r < job->prompts[i].n_reads; r++) {
            engine_read_free(&job->prompts[i].reads[r]);
        }
    }
    status_clear(&job->st);
    (void)trace(worker, job->prompts, job->n_prompts, &job->cancel, &job->st);
}

/* All jobs as one pass. A job that cannot be computed must not fail its neighbours, so when the
 * pass fails each one has a pass of its own. */
static void run_all(struct worker *worker, struct job *jobs)
{
    size_t n = 0;
    for (struct job *job = jobs; job; job = job->next) {
        n += job->n_prompts;
    }
    struct engine_prompt *prompts = jobs->next ? memory_alloc(n, sizeof *prompts) : NULL;
    struct status st = {0};
    int code = STATUS_MEMORY;
    if (prompts) {
        size_t at = 0;
        for (struct job *job = jobs; job; job = job->next) {
            memcpy(prompts + at, job->prompts, job->n_prompts * sizeof *prompts);
            at += job->n_prompts;
        }
        code = trace(worker, prompts, n, NULL, &st); /* the reads are the jobs' own */
    }
    memory_free(prompts);
    for (struct job *job = jobs; job && code; job = job->next) {
        run_alone(worker, job);
    }
}

static bool keeps(const struct worker *worker, const struct engine_read *read)
{
    return read->kind == READ_FEATURES && sources_keeps(worker->sources, read->source);
}

static size_t count_features(const struct worker *worker, const struct job *job)
{
    size_t n = 0;
    for (size_t i = 0; i < job->n_prompts; i++) {
        for (size_t r = 0; r < job->prompts[i].n_reads; r++) {
            n += keeps(worker, &job->prompts[i].reads[r]);
        }
    }
    return n;
}

static bool is_kept(const struct job *job)
{
    return job->keep && job->st.code == STATUS_OK;
}

/* Fills one entry for each features read of the job; returns how many. */
static int job_entries(struct worker *worker, const struct job *job,
                       struct store_activations *entries, size_t *n, struct status *st)
{
    for (size_t i = 0; i < job->n_prompts; i++) {
        const struct engine_prompt *prompt = &job->prompts[i];
        for (size_t r = 0; r < prompt->n_reads; r++) {
            const struct engine_read *read = &prompt->reads[r];
            if (!keeps(worker, read)) {
                continue;
            }
            struct store_activations *entry = &entries[*n];
            *entry = (struct store_activations){
                .ids = prompt->ids, .n = prompt->n_ids, .rows = &read->features};
            int code = sources_row(worker->sources, read->source, &entry->source, st);
            if (code) {
                return code;
            }
            (*n)++;
        }
    }
    return STATUS_OK;
}

static int write_kept(struct worker *worker, const struct job *jobs, struct status *st)
{
    size_t capacity = 0;
    for (const struct job *job = jobs; job; job = job->next) {
        capacity += is_kept(job) ? count_features(worker, job) : 0;
    }
    if (!capacity) {
        return STATUS_OK;
    }
    struct store_activations *entries = memory_alloc(capacity, sizeof *entries);
    if (!entries) {
        return status_no_memory(st, capacity * sizeof *entries);
    }
    size_t n = 0;
    int code = STATUS_OK;
    for (const struct job *job = jobs; job && !code; job = job->next) {
        code = is_kept(job) ? job_entries(worker, job, entries, &n, st) : STATUS_OK;
    }
    if (!code) {
        code =
            store_write_activations(worker->store, sources_model(worker->sources), entries, n, st);
    }
    memory_free(entries);
    return code;
}

static void finish(struct job *job)
{
    job->next = NULL;
    job->done(job, job->user); /* the job may be gone after this */
}

/* Hands back the jobs that nobody waits for any more; returns the others. */
static struct job *drop_cancelled(struct job *jobs)
{
    struct job *first = NULL;
    struct job **end = &first;
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->next;
        job->next = NULL;
        if (atomic_load(&job->cancel)) {
            status_set(&job->st, STATUS_CANCELLED, "nobody waits for this answer any more");
            finish(job);
        } else {
            *end = job;
            end = &job->next;
        }
    }
    return first;
}

/* Runs the jobs that bring work of their own; returns the others. */
static struct job *run_own_work(struct worker *worker, struct job *jobs)
{
    struct job *others = NULL;
    struct job **end = &others;
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->next;
        job->next = NULL;
        if (job->run) {
            (void)job->run(job, worker->session, &job->st);
            finish(job);
        } else {
            *end = job;
            end = &job->next;
        }
    }
    return others;
}

/* Generations join those that are in work; returns the other jobs. */
static struct job *set_generations_aside(struct worker *worker, struct job *jobs)
{
    struct job *others = NULL;
    struct job **end = &others;
    struct job **last = &worker->generations;
    while (*last) {
        last = &(*last)->next;
    }
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->next;
        job->next = NULL;
        struct job ***list = job->generation || job->lens ? &last : &end;
        **list = job;
        *list = &job->next;
        worker->n_generations += job->generation || job->lens;
    }
    return others;
}

static int step(struct worker *worker, struct job *job, bool *more)
{
    return job->lens
               ? lens_reading_step(job->lens, worker->session, &job->cancel, more, &job->st)
               : generation_step(job->generation, worker->session, &job->cancel, more, &job->st);
}

/* One more token of the job's texts, or group of positions; true if there is more to come. */
static bool advance(struct worker *worker, struct job *job)
{
    bool more = false;
    if (queue_stopped(worker->queue)) {
        status_set(&job->st, STATUS_BUSY, "the server is stopping; the text was broken off");
        return false;
    }
    if (!atomic_load(&job->cancel) && step(worker, job, &more)) {
        return false;
    }
    bool wanted = !atomic_load(&job->cancel) && job->advanced(job, more, job->user);
    if (!wanted) {
        status_set(&job->st, STATUS_CANCELLED, "nobody waits for this answer any more");
    }
    return wanted && more;
}

static void advance_all(struct worker *worker)
{
    struct job **at = &worker->generations;
    while (*at) {
        struct job *job = *at;
        if (advance(worker, job)) {
            at = &job->next;
        } else {
            *at = job->next;
            worker->n_generations--;
            finish(job);
        }
    }
}

/* Keeps the results of jobs that were run, and hands the jobs back. */
static void keep_and_finish(struct worker *worker, struct job *jobs)
{
    struct status st = {0};
    int code = write_kept(worker, jobs, &st);
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->next;
        if (code && is_kept(job)) { /* nothing that was answered may be lost: so no answer */
            job->st = st;
            status_prefix(&job->st, "the activations were computed but could not be kept");
        }
        finish(job);
    }
}

/* A job of several slices is put aside; returns the other jobs. The queue gives none while there is
 * one. */
static struct job *set_large_aside(struct worker *worker, struct job *jobs)
{
    struct job **at = &jobs;
    while (*at && (worker->large || job_tokens(*at) <= worker->budget || (*at)->n_prompts < 2)) {
        at = &(*at)->next;
    }
    if (*at) {
        worker->large = *at;
        worker->large_at = 0;
        *at = worker->large->next;
        worker->large->next = NULL;
    }
    return jobs;
}

static void advance_large(struct worker *worker)
{
    struct job *job = worker->large;
    if (!job) {
        return;
    }
    size_t end = slice_end(worker, job->prompts, job->n_prompts, worker->large_at);
    int code = engine_trace(worker->session, job->prompts + worker->large_at,
                            end - worker->large_at, &job->cancel, &job->st);
    worker->large_at = end;
    if (code || end == job->n_prompts) {
        worker->large = NULL;
        keep_and_finish(worker, job);
    }
}

/* Runs what was taken, and a slice of the large job unless it is the texts' turn. */
static void pass(struct worker *worker, struct job *jobs, bool texts_first)
{
    bool background = jobs && jobs->background; /* then it is alone, and gone afterwards */
    double begun = clock_seconds();
    jobs = run_own_work(worker, drop_cancelled(set_generations_aside(worker, jobs)));
    jobs = set_large_aside(worker, jobs);
    if (jobs) {
        run_all(worker, jobs);
        keep_and_finish(worker, jobs);
    }
    if (!texts_first && !background) {
        advance_large(worker);
    }
    double now = clock_seconds();
    if (background) {
        turns_background_passed(&worker->turns, now, now - begun);
    } else if (!texts_first) {
        turns_passed(&worker->turns, now, now - begun);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (;;) {
        double now = clock_seconds();
        bool texts_first = worker->generations && turns_are_texts(&worker->turns, now);
        const struct queue_wish wish = {.tokens = texts_first ? worker->budget / SMALL_PART
                                                              : worker->budget,
                                        .texts = GENERATIONS_AT_ONCE - worker->n_generations,
                                        .large = !worker->large && !texts_first,
                                        .background = turns_are_background(&worker->turns, now)};
        bool busy = worker->generations || worker->large;
        struct job *jobs = busy ? queue_poll(worker->queue, wish) : queue_take(worker->queue, wish);
        if (!jobs && !busy) {
            return NULL;
        }
        pass(worker, jobs, texts_first);
        advance_all(worker);
    }
}

int worker_start(struct worker **worker, struct engine *engine, struct store *store,
                 struct sources *sources, struct queue *queue, size_t budget_tokens,
                 struct status *st)
{
    struct worker *w = memory_zalloc(1, sizeof *w);
    *worker = NULL;
    if (!w) {
        return status_no_memory(st, sizeof *w);
    }
    w->store = store;
    w->sources = sources;
    w->queue = queue;
    w->budget = budget_tokens ? budget_tokens : 1;
    int code = session_create(&w->session, engine, st);
    if (code) {
        memory_free(w);
        return code;
    }
    int error = pthread_create(&w->thread, NULL, work, w);
    if (error) {
        session_destroy(w->session);
        memory_free(w);
        return status_set(st, STATUS_IO, "the inference worker's thread cannot be started: %s",
                          strerror(error));
    }
    *worker = w;
    return STATUS_OK;
}

void worker_join(struct worker *worker)
{
    if (worker) {
        pthread_join(worker->thread, NULL);
        session_destroy(worker->session);
        memory_free(worker);
    }
}
