#include "server/work/worker.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/work/worker_private.h"

#include <pthread.h>
#include <string.h>

/* Jobs done in steps at the same time, and the positions of their caches together (at the shapes of
 * gemma-2-2b 208 KB each); more wait in the queue, without memory of their own. */
#define STEPS_AT_ONCE 8
#define CACHE_POSITIONS 8192
/* Prompts of up to this part of the budget need not wait while it is the steps' turn. */
#define SMALL_PART 8
/* A large job is computed in slices of this part of the budget. */
#define SLICE_PART 4

/* Tasks that go through the model together: prompts of all jobs that want nothing else, a slice of
 * the large one, attributions, steps. */
#define PASS_TASKS 32
struct pass {
    struct worker *worker;
    struct engine_task tasks[PASS_TASKS];
    struct job *jobs[PASS_TASKS]; /* whose each is: of the common prompts a list */
    size_t n, rows;
    struct engine_prompt *prompts; /* the common ones */
};

/* One past the last prompt of the slice that starts at `begin`: at most a part of the budget, or a
 * single prompt. Whoever asks for little waits for one of them, and its products are as fast. */
static size_t slice_end(const struct worker *worker, const struct engine_prompt *prompts, size_t n,
                        size_t begin)
{
    size_t most = worker->budget / SLICE_PART;
    size_t tokens = prompts[begin].n_ids;
    size_t end = begin + 1;
    while (end < n && tokens < most && prompts[end].n_ids <= most - tokens) {
        tokens += prompts[end++].n_ids;
    }
    return end;
}

static void set_unwanted(struct job *job)
{
    status_set(&job->st, STATUS_CANCELLED, "nobody waits for this answer any more");
}

/* Whether it need not be run, and why: its client has left, or the server has no more time. */
static bool is_unwanted(const struct worker *worker, struct job *job)
{
    if (atomic_load(&job->cancel)) {
        set_unwanted(job);
    } else if (queue_abandoned(worker->queue)) {
        status_set(&job->st, STATUS_BUSY, "the server is stopping, and had no time left for this");
    }
    return job->st.code != STATUS_OK;
}

/* Hands back the jobs that need not be run; returns the others. */
static struct job *drop_unwanted(const struct worker *worker, struct job *jobs)
{
    struct job *first = NULL;
    struct job **end = &first;
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->next;
        job->next = NULL;
        if (is_unwanted(worker, job)) {
            worker_finish(job);
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
            worker_finish(job);
            worker->answered = clock_seconds();
        } else {
            *end = job;
            end = &job->next;
        }
    }
    return others;
}

/* Jobs that are done in steps join those that are in work; returns the other jobs. */
static struct job *set_steps_aside(struct worker *worker, struct job *jobs)
{
    struct job *others = NULL;
    struct job **end = &others;
    struct job **last = &worker->stepped;
    while (*last) {
        last = &(*last)->next;
    }
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->next;
        job->next = NULL;
        bool steps = job_has_steps(job);
        struct job ***list = steps ? &last : &end;
        **list = job;
        *list = &job->next;
        worker->n_stepped += steps;
        worker->positions += steps ? job->positions : 0;
    }
    return others;
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

/* --- after a move ----------------------------------------------------------------------------- */

/* Prompts of a job by itself, after its neighbours or the lack of memory made the common pass fail.
 */
static void run_again(struct worker *worker, struct job *job)
{
    for (size_t i = 0; i < job->n_prompts; i++) {
        for (size_t r = 0; r < job->prompts[i].n_reads; r++) {
            engine_read_free(&job->prompts[i].reads[r]);
        }
    }
    status_clear(&job->st);
    (void)engine_trace(worker->session, job->prompts, job->n_prompts, &job->cancel, &job->st);
}

/* A job that cannot be computed must not fail its neighbours. */
static void prompts_moved(struct worker *worker, struct job *jobs, const struct engine_task *task)
{
    for (struct job *job = jobs; job && task->st.code; job = job->next) {
        if (jobs->next) {
            run_again(worker, job);
        } else {
            job->st = task->st;
        }
    }
    worker_keep(worker, jobs);
}

static void large_moved(struct worker *worker, const struct engine_task *task)
{
    struct job *job = worker->large;
    job->st = task->st;
    worker->large_at += task->n_prompts;
    if (job->st.code || worker->large_at == job->n_prompts) {
        worker->large = NULL;
        worker_keep(worker, job);
    }
}

static void end_steps(struct worker *worker, struct job *job)
{
    struct job **at = &worker->stepped;
    while (*at != job) {
        at = &(*at)->next;
    }
    *at = job->next;
    worker->n_stepped--;
    worker->positions -= job->positions;
    worker_finish(job);
}

static void step_moved(struct worker *worker, struct job *job, const struct engine_task *task)
{
    bool wanted = !atomic_load(&job->cancel);
    if (task->st.code) {
        job->st = task->st;
    } else if (wanted && job->advanced) {
        wanted = job->advanced(job, task->more, job->user);
    }
    if (!wanted) {
        set_unwanted(job);
    }
    if (job->st.code || !task->more) {
        end_steps(worker, job);
    }
}

static void moved(struct worker *worker, struct job *jobs, const struct engine_task *task)
{
    if (job_has_steps(jobs)) {
        step_moved(worker, jobs, task);
        return;
    }
    if (jobs == worker->large) {
        large_moved(worker, task);
    } else if (task->attribution) {
        jobs->st = task->st;
        worker_finish(jobs);
    } else {
        prompts_moved(worker, jobs, task);
    }
    worker->answered = clock_seconds();
}

/* --- rounds ----------------------------------------------------------------------------------- */

/* A job that is alone in a pass can be cancelled between layers. */
static const atomic_bool *cancel_of(const struct job *jobs)
{
    return jobs->next && !job_has_steps(jobs) ? NULL : &jobs->cancel;
}

static void run_pass(struct pass *p)
{
    struct worker *worker = p->worker;
    struct status st = {0};
    const atomic_bool *cancel = p->n == 1 ? cancel_of(p->jobs[0]) : NULL;
    int together = engine_pass(worker->session, p->tasks, p->n, cancel, &st);
    for (size_t i = 0; i < p->n; i++) {
        struct engine_task *task = &p->tasks[i];
        int code = together;
        if (!task->st.code && together == STATUS_MEMORY && p->n > 1) { /* by itself it may fit */
            code = engine_pass(worker->session, task, 1, cancel_of(p->jobs[i]), &st);
        }
        if (!task->st.code && code) {
            task->st = st;
        } else if (!task->st.code) {
            (void)engine_finish(worker->session, task);
        }
        moved(worker, p->jobs[i], task);
    }
    p->n = p->rows = 0;
}

/* A task for the next pass, which runs before if there is no room. Prompts come first, so that they
 * are answered before the others' products with the unembedding begin. */
static void add(struct pass *p, struct job *jobs, struct engine_task task)
{
    size_t rows = engine_task_rows(&task);
    if (p->n == PASS_TASKS || (p->n && p->rows + rows > p->worker->budget)) {
        run_pass(p);
    }
    p->jobs[p->n] = jobs;
    p->tasks[p->n++] = task;
    p->rows += rows;
}

/* The prompts of all jobs as one task, whose sources are encoded together; without the memory for
 * that each job has its own. */
static void add_prompts(struct pass *p, struct job *jobs)
{
    size_t n = 0;
    for (struct job *job = jobs; job; job = job->next) {
        n += job->n_prompts;
    }
    if (jobs && !jobs->next) {
        add(p, jobs, (struct engine_task){.prompts = jobs->prompts, .n_prompts = n});
        return;
    }
    p->prompts = jobs ? memory_alloc(n, sizeof *p->prompts) : NULL;
    size_t at = 0;
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->next;
        if (p->prompts) {
            memcpy(p->prompts + at, job->prompts, job->n_prompts * sizeof *job->prompts);
            at += job->n_prompts;
        } else {
            job->next = NULL;
            add(p, job, (struct engine_task){.prompts = job->prompts, .n_prompts = job->n_prompts});
        }
    }
    if (p->prompts) { /* the reads are the jobs' own */
        add(p, jobs, (struct engine_task){.prompts = p->prompts, .n_prompts = n});
    }
}

/* Takes the attributions out of the list: a task each. */
static struct job *take_attributions(struct job **jobs)
{
    struct job *taken = NULL;
    struct job **end = &taken, **at = jobs;
    while (*at) {
        struct job *job = *at;
        if (job->attribution) {
            *at = job->next;
            job->next = NULL;
            *end = job;
            end = &job->next;
        } else {
            at = &job->next;
        }
    }
    return taken;
}

static void add_attributions(struct pass *p, struct job *jobs)
{
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->next;
        job->next = NULL;
        add(p, job, (struct engine_task){.attribution = job->attribution});
    }
}

static void add_slice(struct pass *p)
{
    struct worker *worker = p->worker;
    struct job *job = worker->large;
    if (!job) {
        return;
    }
    if (is_unwanted(worker, job)) {
        worker->large = NULL;
        worker_keep(worker, job);
        return;
    }
    size_t end = slice_end(worker, job->prompts, job->n_prompts, worker->large_at);
    add(p, job,
        (struct engine_task){.prompts = job->prompts + worker->large_at,
                             .n_prompts = end - worker->large_at});
}

static void add_steps(struct pass *p)
{
    struct worker *worker = p->worker;
    bool stopped = queue_stopped(worker->queue);
    for (struct job *job = worker->stepped, *next; job; job = next) {
        next = job->next; /* what runs meanwhile ends only jobs before this one */
        if (stopped && !job->dark) {
            status_set(&job->st, STATUS_BUSY, "the server is stopping; the text was broken off");
        }
        if (job->st.code || is_unwanted(worker, job)) {
            end_steps(worker, job);
        } else {
            add(p, job,
                (struct engine_task){
                    .dark = job->dark, .lens = job->lens, .generation = job->generation});
        }
    }
}

/* Everybody moves once: in one pass, or in several where they have more rows than the budget. But a
 * slice of the large job waits while it is the steps' turn. */
static void move_all(struct worker *worker, struct job *jobs, bool steps_first)
{
    struct pass p = {.worker = worker};
    bool background = jobs && jobs->background; /* then it is alone, and gone afterwards */
    double begun = clock_seconds();
    worker->answered = begun;
    jobs = run_own_work(worker, drop_unwanted(worker, set_steps_aside(worker, jobs)));
    steps_first = steps_first || (worker->stepped && turns_are_texts(&worker->turns, begun));
    jobs = set_large_aside(worker, jobs);
    struct job *attributions = take_attributions(&jobs);
    add_prompts(&p, jobs);
    add_attributions(&p, attributions);
    if (!steps_first && !background) {
        add_slice(&p);
    }
    add_steps(&p);
    if (p.n) {
        run_pass(&p);
    }
    memory_free(p.prompts);
    double seconds = worker->answered - begun;
    if (background) {
        turns_background_passed(&worker->turns, worker->answered, seconds);
    } else if (!steps_first) {
        turns_passed(&worker->turns, worker->answered, seconds);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (;;) {
        double now = clock_seconds();
        bool steps_first = worker->stepped && turns_are_texts(&worker->turns, now);
        size_t all = CACHE_POSITIONS, held = worker->positions;
        const struct queue_wish wish = {.tokens = steps_first ? worker->budget / SMALL_PART
                                                              : worker->budget,
                                        .steps = STEPS_AT_ONCE - worker->n_stepped,
                                        .positions = held < all ? all - held : 0,
                                        .all_positions = all,
                                        .large = !worker->large && !steps_first,
                                        .background = turns_are_background(&worker->turns, now)};
        bool busy = worker->stepped || worker->large;
        struct job *jobs = busy ? queue_poll(worker->queue, wish) : queue_take(worker->queue, wish);
        if (!jobs && !busy) {
            return NULL;
        }
        move_all(worker, jobs, steps_first);
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
