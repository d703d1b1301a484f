#include "core/base/threads.h"

#include "core/base/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct helper {
    struct threads *pool;
    pthread_t thread;
    int worker;
};

struct threads {
    pthread_mutex_t caller; /* one threads_run at a time */
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t work_is_there;
    pthread_cond_t work_is_done;
    int sleeping;       /* helpers that wait for work_is_there */
    bool caller_sleeps; /* on work_is_done */
    atomic_ulong round; /* counts threads_run calls that the helpers share */
    atomic_int running; /* helpers that have not finished this round */
    atomic_bool stop;

    /* Written before round is, read after it: */
    void (*part)(void *, size_t, int);
    void *argument;
    size_t parts;
    atomic_size_t next;

    int count;
    int started;
    unsigned char *scratch; /* [count][THREADS_SCRATCH_BYTES], then the shared memory */
    pthread_mutex_t shared;
    cpu_set_t allowed; /* of the caller, while the workers are pinned */
    struct helper helpers[];
};

static void take_parts(struct threads *pool, int worker)
{
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= pool->parts) {
            return;
        }
        pool->part(pool->argument, i, worker);
    }
}

/* A wait this short is spent awake: a token is some two hundred small pieces of work one right
 * after the other, and to fall asleep and be woken takes as long as such a piece. */
#define AWAKE_NS 30000

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long long nanoseconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool time_is_up(long long *until)
{
    for (int i = 0; i < 16; i++) {
        pause_briefly();
    }
    long long now = nanoseconds();
    *until = *until ? *until : now + AWAKE_NS;
    return now >= *until;
}

static bool nothing_new(struct threads *pool, unsigned long seen)
{
    return atomic_load_explicit(&pool->round, memory_order_acquire) == seen &&
           !atomic_load_explicit(&pool->stop, memory_order_acquire);
}

static void await_round(struct threads *pool, unsigned long seen)
{
    long long until = 0;
    while (nothing_new(pool, seen)) {
        if (time_is_up(&until)) {
            pthread_mutex_lock(&pool->lock);
            pool->sleeping++;
            while (nothing_new(pool, seen)) {
                pthread_cond_wait(&pool->work_is_there, &pool->lock);
            }
            pool->sleeping--;
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void *helper_main(void *argument)
{
    struct helper *self = argument;
    struct threads *pool = self->pool;
    for (unsigned long seen = 0;; seen++) {
        await_round(pool, seen);
        if (atomic_load_explicit(&pool->stop, memory_order_acquire)) {
            return NULL;
        }
        take_parts(pool, self->worker);
        if (atomic_fetch_sub_explicit(&pool->running, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&pool->lock);
            if (pool->caller_sleeps) {
                pthread_cond_signal(&pool->work_is_done);
            }
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static bool helpers_run(struct threads *pool)
{
    return atomic_load_explicit(&pool->running, memory_order_acquire) > 0;
}

static void await_helpers(struct threads *pool)
{
    long long until = 0;
    while (helpers_run(pool)) {
        if (time_is_up(&until)) {
            pthread_mutex_lock(&pool->lock);
            pool->caller_sleeps = true;
            while (helpers_run(pool)) {
                pthread_cond_wait(&pool->work_is_done, &pool->lock);
            }
            pool->caller_sleeps = false;
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static int processors(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n;
}

static size_t scratch_bytes(const struct threads *pool)
{
    return (size_t)pool->count * THREADS_SCRATCH_BYTES + THREADS_SHARED_BYTES;
}

int threads_create(struct threads **out, int count, struct status *st)
{
    *out = NULL;
    if (count <= 0) {
        count = processors();
    }
    if (count > THREADS_MAX) {
        count = THREADS_MAX;
    }
    size_t size = sizeof(struct threads) + (size_t)(count - 1) * sizeof(struct helper);
    struct threads *pool = memory_zalloc(1, size);
    if (!pool) {
        return status_no_memory(st, size);
    }
    pthread_mutex_init(&pool->caller, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_mutex_init(&pool->shared, NULL);
    pthread_cond_init(&pool->work_is_there, NULL);
    pthread_cond_init(&pool->work_is_done, NULL);
    pool->count = count;
    pool->scratch = memory_pages(scratch_bytes(pool));
    if (!pool->scratch) {
        size = scratch_bytes(pool);
        threads_destroy(pool);
        return status_no_memory(st, size);
    }
    for (int i = 0; i < count - 1; i++) {
        struct helper *h = &pool->helpers[i];
        *h = (struct helper){.pool = pool, .worker = i + 1};
        int error = pthread_create(&h->thread, NULL, helper_main, h);
        if (error) {
            threads_destroy(pool);
            return status_set(st, STATUS_IO, "thread %d of %d cannot be started: %s", i + 1, count,
                              strerror(error));
        }
        pool->started++;
    }
    *out = pool;
    return STATUS_OK;
}

int threads_count(const struct threads *pool)
{
    return pool->count;
}

void *threads_scratch(const struct threads *pool, int worker)
{
    return pool->scratch + (size_t)worker * THREADS_SCRATCH_BYTES;
}

void *threads_hold_shared(struct threads *pool)
{
    pthread_mutex_lock(&pool->shared);
    return pool->scratch + (size_t)pool->count * THREADS_SCRATCH_BYTES;
}

void threads_release_shared(struct threads *pool)
{
    pthread_mutex_unlock(&pool->shared);
}

void threads_run(struct threads *pool, size_t parts, void (*part)(void *, size_t, int),
                 void *argument)
{
    pthread_mutex_lock(&pool->caller);
    pool->part = part;
    pool->argument = argument;
    pool->parts = parts;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    bool alone = parts < 2 || pool->started == 0;
    if (!alone) {
        pthread_mutex_lock(&pool->lock);
        atomic_store_explicit(&pool->running, pool->started, memory_order_relaxed);
        atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
        if (pool->sleeping > 0) {
            pthread_cond_broadcast(&pool->work_is_there);
        }
        pthread_mutex_unlock(&pool->lock);
    }
    take_parts(pool, 0);
    if (!alone) {
        await_helpers(pool);
    }
    pthread_mutex_unlock(&pool->caller);
}

/* The i-th processor of the set, from the first again behind the last. */
static cpu_set_t one_of(const cpu_set_t *allowed, int i)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    int left = i % CPU_COUNT(allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, allowed) && left-- == 0) {
            CPU_SET(cpu, &one);
            break;
        }
    }
    return one;
}

void threads_pin(struct threads *pool, bool on)
{
    if (on) {
        CPU_ZERO(&pool->allowed);
        (void)pthread_getaffinity_np(pthread_self(), sizeof pool->allowed, &pool->allowed);
    }
    if (CPU_COUNT(&pool->allowed) == 0) {
        return; /* unknown: they run where they like */
    }
    for (int i = 0; i <= pool->started; i++) {
        cpu_set_t set = on ? one_of(&pool->allowed, i) : pool->allowed;
        pthread_t thread = i == 0 ? pthread_self() : pool->helpers[i - 1].thread;
        (void)pthread_setaffinity_np(thread, sizeof set, &set);
    }
}

void threads_destroy(struct threads *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store_explicit(&pool->stop, true, memory_order_release);
    pthread_cond_broadcast(&pool->work_is_there);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->started; i++) {
        pthread_join(pool->helpers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->work_is_done);
    pthread_cond_destroy(&pool->work_is_there);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->caller);
    pthread_mutex_destroy(&pool->shared);
    memory_free_pages(pool->scratch, scratch_bytes(pool));
    memory_free(pool);
}
