#include "server/work/queue.h"

#include "core/base/memory.h"
#include "tests/test.h"

#include <pthread.h>
#include <unistd.h>

static struct job *job_of(size_t tokens)
{
    struct job *job = job_create(1);
    if (job) {
        job->prompts[0].ids = memory_zalloc(tokens, sizeof(int32_t));
        job->prompts[0].n_ids = tokens;
    }
    return job;
}

static struct queue_wish wish(size_t tokens, size_t texts)
{
    return (struct queue_wish){.tokens = tokens, .steps = texts, .large = true};
}

static void free_list(struct job *job)
{
    while (job) {
        struct job *next = job->next;
        job_free(job);
        job = next;
    }
}

static void takes_in_order_up_to_the_budget(void)
{
    struct queue *q;
    struct status st;
    REQUIRE_OK(queue_create(&q, 100, &st), st);
    struct job *jobs[4];
    size_t sizes[] = {10, 20, 30, 5};
    for (int i = 0; i < 4; i++) {
        jobs[i] = job_of(sizes[i]);
        CHECK(queue_push(q, jobs[i], &st) == 0);
    }
    CHECK(queue_depth(q) == 4 && queue_tokens(q) == 65);
    struct job *taken = queue_take(q, wish(35, 4));
    CHECK(taken == jobs[0] && taken->next == jobs[1] && !taken->next->next);
    CHECK(queue_depth(q) == 2 && queue_tokens(q) == 35);
    struct job *rest = queue_take(q, wish(35, 4));
    CHECK(rest == jobs[2] && rest->next == jobs[3]);
    CHECK(queue_depth(q) == 0 && queue_tokens(q) == 0);
    free_list(taken);
    free_list(rest);
    queue_destroy(q);
}

static void takes_a_first_job_over_the_budget_alone(void)
{
    struct queue *q;
    struct status st;
    REQUIRE_OK(queue_create(&q, 100, &st), st);
    struct job *big = job_of(50), *small = job_of(1);
    CHECK(queue_push(q, big, &st) == 0 && queue_push(q, small, &st) == 0);
    struct job *taken = queue_take(q, wish(10, 4));
    CHECK(taken == big && !taken->next);
    free_list(taken);
    free_list(queue_take(q, wish(10, 4)));
    queue_destroy(q);
}

static void is_full_by_tokens_but_takes_one_job_of_any_size(void)
{
    struct queue *q;
    struct status st = {0};
    REQUIRE_OK(queue_create(&q, 10, &st), st);
    struct job *big = job_of(50), *small = job_of(1);
    CHECK(queue_push(q, big, &st) == 0);
    CHECK(queue_push(q, small, &st) == STATUS_BUSY);
    CHECK_CONTAINS(st.message, "50 tokens wait");
    free_list(queue_take(q, wish(10, 4)));
    CHECK(queue_push(q, small, &st) == 0);
    struct job *exact = job_of(9);
    CHECK(queue_push(q, exact, &st) == 0);
    struct job *over = job_of(1);
    CHECK(queue_push(q, over, &st) == STATUS_BUSY);
    job_free(over);
    free_list(queue_take(q, wish(10, 4)));
    queue_destroy(q);
}

static void drains_and_then_ends_once_stopped(void)
{
    struct queue *q;
    struct status st = {0};
    REQUIRE_OK(queue_create(&q, 10, &st), st);
    struct job *job = job_of(1), *late = job_of(1);
    CHECK(queue_push(q, job, &st) == 0);
    queue_stop(q);
    CHECK(queue_push(q, late, &st) == STATUS_BUSY);
    CHECK_CONTAINS(st.message, "stopping");
    CHECK(queue_take(q, wish(10, 4)) == job);
    CHECK(queue_take(q, wish(10, 4)) == NULL);
    job_free(job);
    job_free(late);
    queue_destroy(q);
}

static void *take_one(void *queue)
{
    return queue_take(queue, wish(10, 4));
}

static void wakes_a_taker_that_waits(void)
{
    struct queue *q;
    struct status st = {0};
    pthread_t thread;
    void *taken = NULL;
    REQUIRE_OK(queue_create(&q, 10, &st), st);
    REQUIRE(pthread_create(&thread, NULL, take_one, q) == 0);
    usleep(2000);
    struct job *job = job_of(1);
    CHECK(queue_push(q, job, &st) == 0);
    pthread_join(thread, &taken);
    CHECK(taken == job);
    REQUIRE(pthread_create(&thread, NULL, take_one, q) == 0);
    usleep(2000);
    queue_stop(q);
    pthread_join(thread, &taken);
    CHECK(taken == NULL);
    job_free(job);
    queue_destroy(q);
}

static void survives_allocations_that_fail(void)
{
    struct queue *q;
    struct status st = {0};
    memory_fail_after(1);
    CHECK(queue_create(&q, 10, &st) == STATUS_MEMORY);
    for (long nth = 1; nth <= 2; nth++) {
        memory_fail_after(nth);
        CHECK(job_create(3) == NULL);
    }
    memory_fail_after(0);
    job_free(NULL);
    queue_destroy(NULL);
}

static void background_jobs_give_way_and_go_one_at_a_time(void)
{
    struct queue *q;
    struct status st;
    REQUIRE_OK(queue_create(&q, 100, &st), st);
    struct job *slow[2], *quick[2];
    for (int i = 0; i < 2; i++) {
        slow[i] = job_of(400);
        slow[i]->background = true;
        CHECK(queue_push(q, slow[i], &st) == 0);
    }
    CHECK(queue_depth(q) == 0 && queue_tokens(q) == 0); /* nobody has to wait behind them */
    for (int i = 0; i < 2; i++) {
        quick[i] = job_of(10);
        CHECK(queue_push(q, quick[i], &st) == 0);
    }
    struct job *first = queue_take(q, wish(1000, 4));
    CHECK(first == quick[0] && first->next == quick[1] && !quick[1]->next);
    struct job *second = queue_take(q, wish(1000, 4));
    CHECK(second == slow[0] && !second->next);
    queue_stop(q);
    struct job *third = queue_take(q, wish(1000, 4));
    CHECK(third == slow[1] && !third->next);
    CHECK(queue_take(q, wish(1000, 4)) == NULL);
    free_list(first);
    free_list(second);
    free_list(third);
    queue_destroy(q);
}

static void a_background_job_goes_first_when_it_is_wished_for(void)
{
    struct queue *q;
    struct status st;
    struct queue_wish its_turn = wish(1000, 4);
    REQUIRE_OK(queue_create(&q, 100, &st), st);
    struct job *quick = job_of(10);
    struct job *slow = job_of(400);
    slow->background = true;
    its_turn.background = true;
    CHECK(queue_push(q, quick, &st) == 0 && queue_push(q, slow, &st) == 0);
    struct job *first = queue_poll(q, its_turn);
    CHECK(first == slow && !first->next);
    CHECK(queue_poll(q, its_turn) == quick && !quick->next); /* none is left */
    CHECK(queue_push(q, slow, &st) == 0);
    CHECK(queue_poll(q, wish(1000, 4)) == NULL);
    CHECK(queue_take(q, its_turn) == slow);
    free_list(quick);
    free_list(slow);
    queue_destroy(q);
}

static struct job *job_from(uint64_t client, size_t tokens)
{
    struct job *job = job_of(tokens);
    if (job) {
        job->client = client;
    }
    return job;
}

static void a_flood_of_one_client_waits_behind_itself(void)
{
    struct queue *q;
    struct status st;
    struct job *flood[20], *small[3];
    REQUIRE_OK(queue_create(&q, 10000, &st), st);
    for (int i = 0; i < 20; i++) {
        flood[i] = job_from(1, 100);
        CHECK(queue_push(q, flood[i], &st) == 0);
    }
    CHECK(queue_take(q, wish(100, 4)) == flood[0]);
    small[0] = job_from(2, 10); /* comes last, is next but one: client 1's second is due as well */
    small[1] = job_from(2, 10);
    small[2] = job_from(3, 10);
    for (int i = 0; i < 3; i++) {
        CHECK(queue_push(q, small[i], &st) == 0);
    }
    struct job *order[] = {small[0], small[2], small[1], flood[1], flood[2]};
    for (int i = 0; i < 5; i++) {
        struct job *taken = queue_take(q, wish(1, 4));
        CHECK(taken == order[i]);
        job_free(taken);
    }
    struct job *late = job_from(2, 10); /* what they had before is no debt: the line has moved on */
    CHECK(queue_push(q, late, &st) == 0);
    struct job *next = queue_take(q, wish(1, 4));
    CHECK(next == late);
    job_free(next);
    job_free(flood[0]);
    free_list(queue_take(q, wish(10000, 4)));
    CHECK(queue_depth(q) == 0 && queue_tokens(q) == 0);
    queue_destroy(q);
}

static void a_flood_of_one_client_leaves_room_for_the_others(void)
{
    struct queue *q;
    struct status st = {0};
    REQUIRE_OK(queue_create(&q, 100, &st), st);
    for (int i = 0; i < 10; i++) {
        CHECK(queue_push(q, job_from(1, 10), &st) == 0);
    }
    struct job *over = job_from(1, 1);
    CHECK(queue_push(q, over, &st) == STATUS_BUSY);  /* full for whoever filled it */
    CHECK(queue_push(q, job_from(2, 70), &st) == 0); /* one job whatever its size */
    struct job *second = job_from(2, 1);
    CHECK(queue_push(q, second, &st) == STATUS_BUSY); /* beyond a half already */
    CHECK(queue_push(q, job_from(3, 10), &st) == 0);
    CHECK(queue_push(q, job_from(3, 23), &st) == 0); /* a third of the queue */
    struct job *third = job_from(3, 1);
    CHECK(queue_push(q, third, &st) == STATUS_BUSY);
    job_free(over);
    job_free(second);
    job_free(third);
    free_list(queue_take(q, wish(1000, 4)));
    queue_destroy(q);
}

static struct job *text_from(uint64_t client, size_t tokens)
{
    struct job *job = job_create(0);
    if (job) {
        job->client = client;
        job->work_tokens = tokens;
        job->generation = (struct generation *)job; /* only looked at */
    }
    return job;
}

static void texts_wait_in_a_line_of_their_own_and_take_turns_too(void)
{
    struct queue *q;
    struct status st;
    struct job *texts[6], *other, *prompt;
    REQUIRE_OK(queue_create(&q, 1000, &st), st);
    for (int i = 0; i < 6; i++) {
        texts[i] = text_from(1, 5);
        CHECK(queue_push(q, texts[i], &st) == 0);
    }
    other = text_from(2, 5);
    prompt = job_from(1, 50);
    CHECK(queue_push(q, other, &st) == 0 && queue_push(q, prompt, &st) == 0);
    CHECK(queue_depth(q) == 8 && queue_tokens(q) == 85);
    CHECK(queue_poll(q, wish(10, 0)) == prompt && !prompt->next);
    CHECK(queue_poll(q, wish(10, 0)) == NULL);
    struct job *taken = queue_take(q, wish(10, 2));
    CHECK(taken == texts[0] && taken->next == other && !other->next);
    CHECK(queue_depth(q) == 5 && queue_tokens(q) == 25);
    CHECK(queue_poll(q, wish(10, 9)) == texts[1]);
    CHECK(queue_depth(q) == 0);
    for (int i = 0; i < 6; i++) {
        texts[i]->generation = NULL;
        job_free(texts[i]);
    }
    other->generation = NULL;
    job_free(other);
    job_free(prompt);
    queue_destroy(q);
}

static void passes_over_large_jobs_while_one_is_in_work(void)
{
    struct queue *q;
    struct status st;
    const struct queue_wish no_large = {.tokens = 100};
    REQUIRE_OK(queue_create(&q, 10000, &st), st);
    struct job *large[2] = {job_from(1, 500), job_from(1, 500)};
    struct job *small[3] = {job_from(2, 60), job_from(3, 40), job_from(4, 1)};
    for (int i = 0; i < 2; i++) {
        CHECK(queue_push(q, large[i], &st) == 0);
    }
    CHECK(queue_take(q, wish(100, 0)) == large[0] && !large[0]->next);
    for (int i = 0; i < 3; i++) {
        CHECK(queue_push(q, small[i], &st) == 0);
    }
    struct job *taken = queue_poll(q, no_large);
    CHECK(taken == small[0] && taken->next == small[1] && !small[1]->next);
    CHECK(queue_poll(q, no_large) == small[2]);
    CHECK(queue_poll(q, no_large) == NULL && queue_depth(q) == 1);
    struct job *last = job_from(4, 1);
    CHECK(queue_push(q, last, &st) == 0);
    free_list(taken);
    job_free(small[2]);
    CHECK(queue_poll(q, no_large) == last);
    CHECK(queue_take(q, wish(100, 0)) == large[1]);
    job_free(last);
    job_free(large[0]);
    job_free(large[1]);
    queue_destroy(q);
}

static const struct test tests[] = {TEST(passes_over_large_jobs_while_one_is_in_work),
                                    TEST(a_flood_of_one_client_waits_behind_itself),
                                    TEST(a_flood_of_one_client_leaves_room_for_the_others),
                                    TEST(texts_wait_in_a_line_of_their_own_and_take_turns_too),
                                    TEST(background_jobs_give_way_and_go_one_at_a_time),
                                    TEST(a_background_job_goes_first_when_it_is_wished_for),
                                    TEST(takes_in_order_up_to_the_budget),
                                    TEST(takes_a_first_job_over_the_budget_alone),
                                    TEST(is_full_by_tokens_but_takes_one_job_of_any_size),
                                    TEST(drains_and_then_ends_once_stopped),
                                    TEST(wakes_a_taker_that_waits),
                                    TEST(survives_allocations_that_fail)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
