#include "server/work/worker.h"

#include "tests/v1.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>

#define SOURCE "2-gemmascope-res-2k"

/* A queue that already holds the jobs when its worker starts, so that they form one batch. */
struct bench {
    struct v1 v;
    struct queue *queue;
    int n_done;
};

static bool bench_open(struct bench *b)
{
    struct status st;
    if (!v1_open(&b->v, V1_DEMO)) {
        return false;
    }
    b->n_done = 0;
    return queue_create(&b->queue, 1 << 14, &st) == 0;
}

static void count_done(struct job *job, void *user)
{
    struct bench *b = user;
    (void)job;
    b->n_done++;
}

static struct job *ordered[8];
static int n_ordered;
static atomic_int n_noted; /* the same, for another thread */

static void note_order(struct job *job, void *user)
{
    (void)user;
    ordered[n_ordered++] = job;
    atomic_fetch_add(&n_noted, 1);
}

static void cancel_the_first(struct job *job, void *user)
{
    (void)job;
    atomic_store(&((struct job *)user)->cancel, true);
}

/* A job of one prompt [2, 908, id] that reads the features of a source. */
static struct job *push(struct bench *b, const char *source, int32_t id)
{
    struct status st = {0};
    struct job *job = job_create(1);
    int32_t *ids = memory_alloc(3, sizeof *ids);
    struct engine_read *read = memory_zalloc(1, sizeof *read);
    if (!job || !ids || !read) {
        return NULL;
    }
    ids[0] = 2;
    ids[1] = 908;
    ids[2] = id;
    *read = (struct engine_read){.kind = READ_FEATURES, .source = source};
    job->prompts[0] = (struct engine_prompt){.ids = ids, .n_ids = 3, .reads = read, .n_reads = 1};
    job->keep = true;
    job->done = count_done;
    job->user = b;
    CHECK(queue_push(b->queue, job, &st) == 0);
    return job;
}

/* Runs what is queued to its end, at most `budget` tokens at a time, and closes the queue. */
static void run(struct bench *b, size_t budget)
{
    struct app *app = &b->v.app;
    struct worker *worker;
    struct status st;
    queue_stop(b->queue);
    REQUIRE_OK(worker_start(&worker, app->engine, app->store, app->sources, b->queue, budget, &st),
               st);
    worker_join(worker);
    queue_destroy(b->queue);
    b->queue = NULL;
}

static void bench_close(struct bench *b)
{
    queue_destroy(b->queue);
    v1_close(&b->v);
}

static bool is_stored(struct bench *b, const char *source, int32_t id)
{
    struct app *app = &b->v.app;
    struct status st;
    struct sparse rows = {0};
    int32_t ids[] = {2, 908, id};
    int64_t row;
    bool found = false;
    CHECK(sources_row(app->sources, source, &row, &st) == 0);
    CHECK(store_read_activations(app->store, sources_model(app->sources), row, ids, 3, &rows,
                                 &found, &st) == 0);
    sparse_free(&rows);
    return found;
}

static void runs_and_keeps_all_jobs_that_wait(void)
{
    struct bench b;
    struct job *jobs[6];
    REQUIRE(bench_open(&b));
    for (int i = 0; i < 6; i++) {
        /* the first two are the same */
        jobs[i] = push(&b, i == 3 ? "3-gemmascope-res-2k" : SOURCE, i ? 99 + i : 100);
        REQUIRE(jobs[i]);
    }
    run(&b, 1 << 12);
    CHECK(b.n_done == 6);
    for (int i = 0; i < 6; i++) {
        CHECK(jobs[i]->st.code == 0);
        CHECK(jobs[i]->prompts[0].reads[0].features.rows == 3);
        CHECK(is_stored(&b, i == 3 ? "3-gemmascope-res-2k" : SOURCE, i ? 99 + i : 100));
        job_free(jobs[i]);
    }
    bench_close(&b);
}

static void one_bad_job_does_not_fail_its_neighbours(void)
{
    struct bench b;
    REQUIRE(bench_open(&b));
    struct job *good = push(&b, SOURCE, 100);
    struct job *bad = push(&b, "77-none", 101);
    struct job *other = push(&b, SOURCE, 102);
    REQUIRE(good && bad && other);
    run(&b, 1 << 12);
    CHECK(b.n_done == 3);
    CHECK(good->st.code == 0 && other->st.code == 0 && bad->st.code != 0);
    CHECK_CONTAINS(bad->st.message, "77-none");
    CHECK(good->prompts[0].reads[0].features.rows == 3);
    CHECK(is_stored(&b, SOURCE, 100) && is_stored(&b, SOURCE, 102));
    CHECK(!is_stored(&b, SOURCE, 101));
    job_free(good);
    job_free(bad);
    job_free(other);
    bench_close(&b);
}

static void drops_a_cancelled_job_before_it_is_computed(void)
{
    struct bench b;
    REQUIRE(bench_open(&b));
    struct job *cancelled = push(&b, SOURCE, 100);
    struct job *other = push(&b, SOURCE, 101);
    REQUIRE(cancelled && other);
    atomic_store(&cancelled->cancel, true);
    uint64_t before = engine_tokens_computed(b.v.app.engine);
    run(&b, 1 << 12);
    CHECK(b.n_done == 2);
    CHECK(cancelled->st.code == STATUS_CANCELLED && other->st.code == 0);
    CHECK(engine_tokens_computed(b.v.app.engine) == before + 3);
    CHECK(!is_stored(&b, SOURCE, 100));
    job_free(cancelled);
    job_free(other);
    bench_close(&b);
}

static void hands_everything_back_once_the_queue_is_abandoned(void)
{
    struct bench b;
    struct job *jobs[3];
    REQUIRE(bench_open(&b));
    for (int i = 0; i < 3; i++) {
        jobs[i] = push(&b, SOURCE, 100 + i);
        REQUIRE(jobs[i]);
    }
    queue_abandon(b.queue);
    run(&b, 1 << 12);
    CHECK(b.n_done == 3);
    for (int i = 0; i < 3; i++) {
        CHECK(jobs[i]->st.code == STATUS_BUSY);
        CHECK_CONTAINS(jobs[i]->st.message, "the server is stopping");
        CHECK(!is_stored(&b, SOURCE, 100 + i));
        job_free(jobs[i]);
    }
    bench_close(&b);
}

enum { PROMPTS = 7 };

/* A job of PROMPTS prompts of 3 tokens. */
static struct job *push_large(struct bench *b)
{
    struct job *job = job_create(PROMPTS);
    struct status st = {0};
    for (int i = 0; job && i < PROMPTS; i++) {
        int32_t *ids = memory_alloc(3, sizeof *ids);
        struct engine_read *read = memory_zalloc(1, sizeof *read);
        if (!ids || !read) {
            return NULL;
        }
        ids[0] = 2;
        ids[1] = 908;
        ids[2] = 200 + i;
        *read = (struct engine_read){.kind = READ_FEATURES, .source = SOURCE};
        job->prompts[i] =
            (struct engine_prompt){.ids = ids, .n_ids = 3, .reads = read, .n_reads = 1};
    }
    if (job) {
        job->keep = true;
        job->done = count_done;
        job->user = b;
        CHECK(queue_push(b->queue, job, &st) == 0);
    }
    return job;
}

static void others_run_between_the_slices_of_a_large_job(void)
{
    struct bench b;
    REQUIRE(bench_open(&b));
    struct job *large = push_large(&b), *second = push_large(&b), *small[3];
    REQUIRE(large && second);
    for (int i = 0; i < 3; i++) {
        small[i] = push(&b, SOURCE, 300 + i);
        REQUIRE(small[i]);
    }
    n_ordered = 0;
    large->done = second->done = note_order;
    for (int i = 0; i < 3; i++) {
        small[i]->done = note_order;
    }
    run(&b, 7); /* four slices each; a small one between any two */
    struct job *order[] = {small[0], small[1], small[2], large, second};
    CHECK(n_ordered == 5);
    for (int i = 0; i < 5; i++) {
        CHECK(ordered[i] == order[i] && order[i]->st.code == 0);
        job_free(order[i]);
    }
    for (int i = 0; i < PROMPTS; i++) {
        CHECK(is_stored(&b, SOURCE, 200 + i));
    }
    bench_close(&b);
}

static void a_large_job_that_is_cancelled_or_fails_ends_with_its_slice(void)
{
    struct bench b;
    REQUIRE(bench_open(&b));
    struct job *large = push_large(&b), *bad = push_large(&b), *small = push(&b, SOURCE, 300);
    REQUIRE(large && bad && small);
    bad->prompts[3].reads[0].source = "77-none";
    n_ordered = 0;
    large->done = bad->done = note_order;
    small->done = cancel_the_first; /* runs after the first slice was taken on */
    small->user = large;
    run(&b, 7);
    CHECK(n_ordered == 2 && ordered[0] == large && ordered[1] == bad);
    CHECK(large->st.code == STATUS_CANCELLED && bad->st.code != 0);
    CHECK(!is_stored(&b, SOURCE, 200)); /* all or nothing */
    job_free(large);
    job_free(bad);
    job_free(small);
    bench_close(&b);
}

static void cuts_a_large_job_into_slices_of_the_budget(void)
{
    struct bench b;
    REQUIRE(bench_open(&b));
    struct job *job = push_large(&b);
    REQUIRE(job);
    run(&b, 7); /* two prompts of 3 fit */
    CHECK(b.n_done == 1 && job->st.code == 0);
    for (int i = 0; i < PROMPTS; i++) {
        CHECK(job->prompts[i].reads[0].features.rows == 3);
        CHECK(is_stored(&b, SOURCE, 200 + i));
    }
    job_free(job);
    bench_close(&b);
}

static void does_not_keep_what_is_not_to_be_kept(void)
{
    struct bench b;
    REQUIRE(bench_open(&b));
    struct job *job = push(&b, SOURCE, 100);
    REQUIRE(job);
    job->keep = false;
    run(&b, 1 << 12);
    CHECK(job->st.code == 0 && job->prompts[0].reads[0].features.rows == 3);
    CHECK(!is_stored(&b, SOURCE, 100));
    job_free(job);
    bench_close(&b);
}

/* Files may not grow any more, as on a full disk: what could not be kept is not answered. */
static void fails_a_job_that_cannot_be_kept(void)
{
    struct bench b;
    REQUIRE(bench_open(&b));
    int64_t row;
    struct status st;
    REQUIRE_OK(sources_row(b.v.app.sources, SOURCE, &row, &st), st);
    struct job *kept = push(&b, SOURCE, 100);
    struct job *only_read = push(&b, SOURCE, 101);
    REQUIRE(kept && only_read);
    only_read->keep = false;
    struct rlimit limit, none;
    REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    none = limit;
    none.rlim_cur = 1;
    signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &none) == 0);
    run(&b, 1 << 12);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(b.n_done == 2);
    CHECK(kept->st.code != 0);
    CHECK_CONTAINS(kept->st.message, "could not be kept");
    CHECK(only_read->st.code == 0 && only_read->prompts[0].reads[0].features.rows == 3);
    CHECK(!is_stored(&b, SOURCE, 100));
    job_free(kept);
    job_free(only_read);
    bench_close(&b);
}

/* --- turns by time -----------------------------------------------------------------------------
 */

enum { BACKGROUND_JOBS = 3, LOAD_MOST = 400 };

/* A client that asks again as soon as it is answered, beside background jobs. */
struct steady {
    struct bench *bench;
    int n_small, n_background;
    int small_at[BACKGROUND_JOBS]; /* small ones answered before each background job */
    sem_t over;
};

static void ask_again(struct job *job, void *user)
{
    struct steady *s = user;
    job_free(job);
    if (++s->n_small == LOAD_MOST || s->n_background == BACKGROUND_JOBS) {
        sem_post(&s->over);
        return;
    }
    job = push(s->bench, SOURCE, 100 + s->n_small % 50);
    job->keep = false;
    job->done = ask_again;
    job->user = s;
}

static void count_background(struct job *job, void *user)
{
    struct steady *s = user;
    s->small_at[s->n_background++] = s->n_small;
    job_free(job);
}

static struct job *push_background(struct steady *s)
{
    struct status st;
    struct job *job = job_create(1);
    int32_t *ids = memory_alloc(3, sizeof *ids);
    struct engine_read *read = memory_zalloc(1, sizeof *read);
    if (!job || !ids || !read) {
        return NULL;
    }
    ids[0] = 2;
    ids[1] = ids[2] = 908;
    *read = (struct engine_read){.kind = READ_FEATURES, .source = SOURCE};
    job->prompts[0] = (struct engine_prompt){.ids = ids, .n_ids = 3, .reads = read, .n_reads = 1};
    job->background = true;
    job->done = count_background;
    job->user = s;
    CHECK(queue_push(s->bench->queue, job, &st) == 0);
    return job;
}

static void a_background_job_moves_on_while_others_always_wait(void)
{
    struct bench b;
    struct worker *worker;
    struct status st;
    REQUIRE(bench_open(&b));
    struct steady s = {.bench = &b};
    sem_init(&s.over, 0, 0);
    struct job *small = push(&b, SOURCE, 100);
    REQUIRE(small);
    small->done = ask_again;
    small->user = &s;
    for (int i = 0; i < BACKGROUND_JOBS; i++) {
        struct job *job = push_background(&s);
        REQUIRE(job);
    }
    const struct app *app = &b.v.app;
    REQUIRE_OK(worker_start(&worker, app->engine, app->store, app->sources, b.queue, 1 << 12, &st),
               st);
    while (sem_wait(&s.over) != 0) {
    }
    CHECK(s.n_background == BACKGROUND_JOBS); /* before there was nobody else */
    CHECK(s.small_at[1] > s.small_at[0] && s.small_at[2] > s.small_at[1]); /* the others as well */
    queue_stop(b.queue);
    worker_join(worker);
    sem_destroy(&s.over);
    bench_close(&b);
}

static bool go_on(struct job *job, bool more, void *user)
{
    (void)job;
    (void)more;
    (void)user;
    return true;
}

/* A token takes a small part of a slice of 100 tokens: sixteen need not wait for sixteen slices. */
static void a_text_need_not_wait_for_a_slice_of_a_large_job_a_token(void)
{
    enum { SLICES = 12, TOKENS = 100, TEXT = 16 };
    struct bench b;
    struct status st;
    struct worker *worker;
    REQUIRE(bench_open(&b));
    struct job *large = job_create(SLICES);
    REQUIRE(large);
    for (size_t i = 0; i < large->n_prompts; i++) {
        int32_t *ids = memory_alloc(TOKENS, sizeof *ids);
        REQUIRE(ids);
        for (int t = 0; t < TOKENS; t++) {
            ids[t] = t ? 100 + (int32_t)(i * 31 + (size_t)t * 7) % 900 : 2;
        }
        struct engine_read *read = memory_zalloc(1, sizeof *read);
        REQUIRE(read);
        *read = (struct engine_read){.kind = READ_POINT, .point = POINT_LOSS};
        large->prompts[i] =
            (struct engine_prompt){.ids = ids, .n_ids = TOKENS, .reads = read, .n_reads = 1};
    }
    const int32_t start[] = {2, 908};
    const struct generation_start starts[] = {{.ids = start, .n_ids = 2}};
    const struct generation_options options = {.starts = starts, .n_starts = 1, .n_tokens = TEXT};
    struct job *text = job_create(0);
    REQUIRE(text);
    REQUIRE_OK(generation_open(&text->generation, b.v.app.engine, &options, &st), st);
    text->advanced = go_on;
    large->done = text->done = note_order;
    n_ordered = 0;
    atomic_store(&n_noted, 0);
    REQUIRE_OK(queue_push(b.queue, large, &st), st);
    REQUIRE_OK(queue_push(b.queue, text, &st), st);
    REQUIRE_OK(worker_start(&worker, b.v.app.engine, b.v.app.store, b.v.app.sources, b.queue,
                            4 * TOKENS, &st),
               st);
    while (atomic_load(&n_noted) < 2) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    }
    queue_stop(b.queue);
    worker_join(worker);
    CHECK(ordered[0] == text && ordered[1] == large);
    CHECK(text->st.code == 0 && large->st.code == 0);
    CHECK(generation_text(text->generation, 0).n == TEXT);
    job_free(text);
    job_free(large);
    bench_close(&b);
}

static const struct test tests[] = {
    TEST(a_background_job_moves_on_while_others_always_wait),
    TEST(a_text_need_not_wait_for_a_slice_of_a_large_job_a_token),
    TEST(runs_and_keeps_all_jobs_that_wait),
    TEST(one_bad_job_does_not_fail_its_neighbours),
    TEST(drops_a_cancelled_job_before_it_is_computed),
    TEST(hands_everything_back_once_the_queue_is_abandoned),
    TEST(others_run_between_the_slices_of_a_large_job),
    TEST(a_large_job_that_is_cancelled_or_fails_ends_with_its_slice),
    TEST(cuts_a_large_job_into_slices_of_the_budget),
    TEST(does_not_keep_what_is_not_to_be_kept),
    TEST(fails_a_job_that_cannot_be_kept)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
