#include "server/work/queue.h"

#include "core/base/clock.h"
#include "core/base/memory.h"

#include <pthread.h>

/* Clients are told apart by this many lanes; two that share one share their turns. */
#define LANES 256

/* Jobs in order of their turns. */
struct line {
    struct job *first, *last;
    uint64_t now;         /* the turn that was taken last */
    uint64_t ends[LANES]; /* where the jobs of each lane end */
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct line waiting, steps, background;
    size_t waits[LANES]; /* tokens of each lane in the first two lines */
    size_t n_waiting;    /* lanes that have any */
    size_t capacity;
    bool stopped;
    atomic_bool abandoned;
    /* Written under the lock; atomic so that /metrics reads them without it. */
    atomic_size_t depth, tokens;
};

int queue_create(struct queue **queue, size_t capacity_tokens, struct status *st)
{
    struct queue *q = memory_zalloc(1, sizeof *q);
    *queue = q;
    if (!q) {
        return status_no_memory(st, sizeof *q);
    }
    q->capacity = capacity_tokens;
    atomic_init(&q->depth, 0);
    atomic_init(&q->tokens, 0);
    atomic_init(&q->abandoned, false);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    return STATUS_OK;
}

void queue_destroy(struct queue *queue)
{
    if (queue) {
        pthread_cond_destroy(&queue->changed);
        pthread_mutex_destroy(&queue->lock);
        memory_free(queue);
    }
}

static size_t lane_of(const struct job *job)
{
    return job->client % LANES;
}

/* Behind all whose turn is not later. A job of no tokens still moves its lane. */
static void insert(struct line *line, struct job *job)
{
    uint64_t *end = &line->ends[lane_of(job)];
    job->turn = *end > line->now ? *end : line->now;
    *end = job->turn + job_tokens(job) + 1;
    struct job **at = &line->first;
    if (line->last && line->last->turn <= job->turn) {
        at = &line->last->next;
    }
    while (*at && (*at)->turn <= job->turn) {
        at = &(*at)->next;
    }
    job->next = *at;
    *at = job;
    if (!job->next) {
        line->last = job;
    }
}

/* Whether the client may add so many tokens to those that wait. */
static bool has_room(const struct queue *queue, size_t lane, size_t tokens)
{
    size_t waiting = atomic_load(&queue->tokens);
    size_t own = queue->waits[lane];
    size_t share = queue->capacity / (queue->n_waiting + (own == 0));
    return own == 0 || (waiting <= queue->capacity && tokens <= queue->capacity - waiting) ||
           (own <= share && tokens <= share - own);
}

static void count_in(struct queue *queue, const struct job *job)
{
    size_t *waits = &queue->waits[lane_of(job)];
    size_t tokens = job_tokens(job);
    queue->n_waiting += *waits == 0 && tokens > 0;
    *waits += tokens;
    atomic_fetch_add(&queue->depth, 1);
    atomic_fetch_add(&queue->tokens, tokens);
}

static void count_out(struct queue *queue, const struct job *job)
{
    size_t *waits = &queue->waits[lane_of(job)];
    size_t tokens = job_tokens(job);
    *waits -= tokens;
    queue->n_waiting -= *waits == 0 && tokens > 0;
    atomic_fetch_sub(&queue->depth, 1);
    atomic_fetch_sub(&queue->tokens, tokens);
}

int queue_push(struct queue *queue, struct job *job, struct status *st)
{
    size_t tokens = job_tokens(job);
    int code = STATUS_OK;
    job->pushed = clock_seconds();
    pthread_mutex_lock(&queue->lock);
    if (queue->stopped) {
        code = status_set(st, STATUS_BUSY, "the server is stopping and takes no new work");
    } else if (job->background) {
        insert(&queue->background, job);
        pthread_cond_signal(&queue->changed);
    } else if (!has_room(queue, lane_of(job), tokens)) {
        code = status_set(st, STATUS_BUSY,
                          "%zu tokens wait for the model already, and %zu more would exceed the "
                          "queue's %zu; try again shortly",
                          atomic_load(&queue->tokens), tokens, queue->capacity);
    } else {
        count_in(queue, job);
        insert(job_has_steps(job) ? &queue->steps : &queue->waiting, job);
        pthread_cond_signal(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return code;
}

static struct job *take_at(struct line *line, struct job **at, struct job *before)
{
    struct job *job = *at;
    *at = job->next;
    if (line->last == job) {
        line->last = before;
    }
    line->now = job->turn > line->now ? job->turn : line->now;
    job->next = NULL;
    job->taken = clock_seconds();
    return job;
}

static struct job *take_first(struct line *line)
{
    return take_at(line, &line->first, NULL);
}

/* Appends prompts to the list that ends at `end`; returns its new end. */
static struct job **take_prompts(struct queue *queue, struct queue_wish wish, struct job **end)
{
    struct job **at = &queue->waiting.first;
    struct job *before = NULL;
    for (size_t left = wish.tokens; *at;) {
        size_t more = job_tokens(*at);
        bool alone = more > wish.tokens;
        if (alone && !wish.large) {
            before = *at;
            at = &before->next;
            continue;
        }
        if (more > left && !(alone && left == wish.tokens)) {
            break;
        }
        *end = take_at(&queue->waiting, at, before);
        count_out(queue, *end);
        end = &(*end)->next;
        if (alone) {
            break;
        }
        left -= more;
    }
    return end;
}

static struct job *take_front(struct queue *queue, struct queue_wish wish)
{
    if (wish.background && queue->background.first) {
        return take_first(&queue->background);
    }
    struct job *taken = NULL;
    struct job **end = take_prompts(queue, wish, &taken);
    size_t left = wish.positions;
    for (size_t i = 0; i < wish.steps && queue->steps.first; i++) {
        size_t more = queue->steps.first->positions;
        if (more > left && left < wish.all_positions) {
            break; /* whose turn it is waits for the others to end: nobody overtakes */
        }
        *end = take_first(&queue->steps);
        count_out(queue, *end);
        end = &(*end)->next;
        left -= more < left ? more : left;
    }
    return taken;
}

struct job *queue_take(struct queue *queue, struct queue_wish wish)
{
    pthread_mutex_lock(&queue->lock);
    struct job *taken = take_front(queue, wish);
    while (!taken && !queue->background.first && !queue->stopped) {
        pthread_cond_wait(&queue->changed, &queue->lock);
        taken = take_front(queue, wish);
    }
    if (!taken && queue->background.first) {
        taken = take_first(&queue->background);
    }
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

struct job *queue_poll(struct queue *queue, struct queue_wish wish)
{
    pthread_mutex_lock(&queue->lock);
    struct job *taken = take_front(queue, wish);
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

bool queue_stopped(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool stopped = queue->stopped;
    pthread_mutex_unlock(&queue->lock);
    return stopped;
}

void queue_stop(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->stopped = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

void queue_abandon(struct queue *queue)
{
    atomic_store(&queue->abandoned, true);
}

bool queue_abandoned(const struct queue *queue)
{
    return atomic_load(&queue->abandoned);
}

size_t queue_depth(const struct queue *queue)
{
    return atomic_load(&queue->depth);
}

size_t queue_tokens(const struct queue *queue)
{
    return atomic_load(&queue->tokens);
}

struct job *job_create(size_t n_prompts)
{
    struct job *job = memory_zalloc(1, sizeof *job);
    if (!job) {
        return NULL;
    }
    job->prompts = memory_zalloc(n_prompts, sizeof *job->prompts);
    if (!job->prompts) {
        memory_free(job);
        return NULL;
    }
    job->n_prompts = n_prompts;
    atomic_init(&job->cancel, false);
    return job;
}

bool job_has_steps(const struct job *job)
{
    return job->generation || job->lens || job->dark;
}

size_t job_tokens(const struct job *job)
{
    size_t tokens = job->work_tokens;
    for (size_t i = 0; i < job->n_prompts; i++) {
        tokens += job->prompts[i].n_ids;
    }
    return tokens;
}

int64_t job_queued_us(const struct job *job)
{
    return job->taken > job->pushed ? (int64_t)((job->taken - job->pushed) * 1e6) : 0;
}

/* The engine's structs borrow ids and positions as const; a job owns them all the same. */
static void free_owned(const void *block)
{
    memory_free((void *)(uintptr_t)block);
}

void job_free(struct job *job)
{
    if (!job) {
        return;
    }
    for (size_t i = 0; i < job->n_prompts; i++) {
        struct engine_prompt *prompt = &job->prompts[i];
        for (size_t r = 0; r < prompt->n_reads; r++) {
            engine_read_free(&prompt->reads[r]);
            free_owned(prompt->reads[r].positions);
        }
        memory_free(prompt->reads);
        free_owned(prompt->ids);
    }
    generation_close(job->generation);
    lens_reading_close(job->lens);
    dark_reading_close(job->dark);
    memory_free(job->prompts);
    memory_free(job);
}
