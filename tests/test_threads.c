#include "core/base/threads.h"

#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#define PARTS 1000

struct work {
    int count;
    atomic_int done[PARTS];
    atomic_int busy[THREADS_MAX]; /* parts that run with that worker number right now */
    atomic_int mistakes;
};

static void part(void *argument, size_t i, int worker)
{
    struct work *w = argument;
    if (worker < 0 || worker >= w->count || atomic_fetch_add(&w->busy[worker], 1) != 0) {
        atomic_fetch_add(&w->mistakes, 1);
    }
    atomic_fetch_add(&w->done[i], 1);
    atomic_fetch_sub(&w->busy[worker], 1);
}

static void runs_every_part_once_with_a_worker_of_its_own(void)
{
    static const int counts[] = {1, 2, 5};
    for (size_t k = 0; k < 3; k++) {
        struct status st = {0};
        struct threads *pool;
        REQUIRE_OK(threads_create(&pool, counts[k], &st), st);
        CHECK(threads_count(pool) == counts[k]);
        static const size_t sizes[] = {0, 1, 2, 17, PARTS};
        for (size_t s = 0; s < 5; s++) {
            struct work w = {.count = counts[k]};
            for (int round = 1; round <= 3; round++) {
                threads_run(pool, sizes[s], part, &w);
                for (size_t i = 0; i < PARTS; i++) {
                    CHECK(atomic_load(&w.done[i]) == (i < sizes[s] ? round : 0));
                }
            }
            CHECK(atomic_load(&w.mistakes) == 0);
        }
        threads_destroy(pool);
    }
}

struct caller {
    struct threads *pool;
    struct work work;
};

static void *call(void *argument)
{
    struct caller *c = argument;
    for (int i = 0; i < 50; i++) {
        threads_run(c->pool, 20, part, &c->work);
    }
    return NULL;
}

static void callers_take_turns(void)
{
    static struct caller callers[3];
    pthread_t ids[3];
    struct status st = {0};
    struct threads *pool;
    REQUIRE_OK(threads_create(&pool, 3, &st), st);
    for (int i = 0; i < 3; i++) {
        callers[i] = (struct caller){.pool = pool, .work = {.count = 3}};
        REQUIRE(pthread_create(&ids[i], NULL, call, &callers[i]) == 0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_join(ids[i], NULL) == 0);
        CHECK(atomic_load(&callers[i].work.mistakes) == 0);
        for (size_t k = 0; k < 20; k++) {
            CHECK(atomic_load(&callers[i].work.done[k]) == 50);
        }
    }
    threads_destroy(pool);
}

static void chooses_a_count_of_its_own_for_zero(void)
{
    struct status st = {0};
    struct threads *pool;
    REQUIRE_OK(threads_create(&pool, 0, &st), st);
    CHECK(threads_count(pool) >= 1 && threads_count(pool) <= THREADS_MAX);
    threads_destroy(pool);
    threads_destroy(NULL);
}

static void every_worker_has_scratch_memory_of_its_own(void)
{
    struct status st = {0};
    struct threads *pool;
    REQUIRE_OK(threads_create(&pool, 3, &st), st);
    for (int w = 0; w < 3; w++) {
        unsigned char *scratch = threads_scratch(pool, w);
        CHECK((uintptr_t)scratch % 64 == 0);
        scratch[0] = scratch[THREADS_SCRATCH_BYTES - 1] = (unsigned char)(w + 1);
    }
    for (int w = 0; w < 3; w++) {
        const unsigned char *scratch = threads_scratch(pool, w);
        CHECK(scratch[0] == w + 1 && scratch[THREADS_SCRATCH_BYTES - 1] == w + 1);
    }
    threads_destroy(pool);
}

static void note_processor(void *argument, size_t i, int worker)
{
    (void)i, (void)worker;
    atomic_int *mistakes = argument;
    cpu_set_t set;
    atomic_fetch_add(mistakes, sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) != 1);
}

static void pins_every_worker_to_one_processor_until_it_is_told_otherwise(void)
{
    struct status st = {0};
    struct threads *pool;
    cpu_set_t before, after;
    atomic_int mistakes = 0;
    CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
    REQUIRE_OK(threads_create(&pool, 5, &st), st); /* more than there may be processors */
    threads_pin(pool, true);
    threads_run(pool, 100, note_processor, &mistakes);
    CHECK(atomic_load(&mistakes) == 0);
    threads_pin(pool, false);
    CHECK(sched_getaffinity(0, sizeof after, &after) == 0);
    CHECK(CPU_EQUAL(&before, &after));
    threads_destroy(pool);
}

static const struct test tests[] = {
    TEST(pins_every_worker_to_one_processor_until_it_is_told_otherwise),
    TEST(every_worker_has_scratch_memory_of_its_own),
    TEST(runs_every_part_once_with_a_worker_of_its_own),
    TEST(callers_take_turns),
    TEST(chooses_a_count_of_its_own_for_zero),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
