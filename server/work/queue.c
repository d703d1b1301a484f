#include "server/work/queue.h"

#include "core/base/memory.h"

#include <pthread.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct line {
        struct job *first, *last;
    } waiting, background;
    size_t capacity;
    bool stopped;
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

static void append(struct line *line, struct job *job)
{
    job->next = NULL;
    if (line->last) {
        line->last->next = job;
    } else {
        line->first = job;
    }
    line->last = job;
}

int queue_push(struct queue *queue, struct job *job, struct status *st)
{
    size_t tokens = job_tokens(job);
    int code = STATUS_OK;
    pthread_mutex_lock(&queue->lock);
    size_t waiting = atomic_load(&queue->tokens);
    size_t room = queue->capacity > waiting ? queue->capacity - waiting : 0;
    if (queue->stopped) {
        code = status_set(st, STATUS_BUSY, "the server is stopping and takes no new work");
    } else if (job->background) {
        append(&queue->background, job);
        pthread_cond_signal(&queue->changed);
    } else if (queue->waiting.first && tokens > room) {
        code = status_set(st, STATUS_BUSY,
                          "%zu tokens wait for the model already, and %zu more would exceed the "
                          "queue's %zu; try again shortly",
                          waiting, tokens, queue->capacity);
    } else {
        append(&queue->waiting, job);
        atomic_fetch_add(&queue->depth, 1);
        atomic_fetch_add(&queue->tokens, tokens);
        pthread_cond_signal(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return code;
}

/* Takes the jobs up to `last` off the front of a line. */
static struct job *cut(struct line *line, struct job *last)
{
    struct job *taken = line->first;
    line->first = last->next;
    if (!line->first) {
        line->last = NULL;
    }
    last->next = NULL;
    return taken;
}

/* The longest run of jobs at the front whose tokens fit the budget, one job at least. */
static struct job *take_front(struct queue *queue, size_t budget)
{
    struct job *last = queue->waiting.first;
    size_t tokens = job_tokens(last);
    size_t depth = 1;
    while (last->next && tokens <= budget && job_tokens(last->next) <= budget - tokens) {
        last = last->next;
        tokens += job_tokens(last);
        depth++;
    }
    atomic_fetch_sub(&queue->depth, depth);
    atomic_fetch_sub(&queue->tokens, tokens);
    return cut(&queue->waiting, last);
}

struct job *queue_take(struct queue *queue, size_t budget_tokens)
{
    struct job *taken = NULL;
    pthread_mutex_lock(&queue->lock);
    while (!queue->waiting.first && !queue->background.first && !queue->stopped) {
        pthread_cond_wait(&queue->changed, &queue->lock);
    }
    if (queue->waiting.first) {
        taken = take_front(queue, budget_tokens);
    } else if (queue->background.first) {
        taken = cut(&queue->background, queue->background.first);
    }
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

struct job *queue_poll(struct queue *queue, size_t budget_tokens)
{
    pthread_mutex_lock(&queue->lock);
    struct job *taken = queue->waiting.first ? take_front(queue, budget_tokens) : NULL;
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

size_t job_tokens(const struct job *job)
{
    size_t tokens = job->generation_tokens + job->work_tokens;
    for (size_t i = 0; i < job->n_prompts; i++) {
        tokens += job->prompts[i].n_ids;
    }
    return tokens;
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
    memory_free(job->prompts);
    memory_free(job);
}
