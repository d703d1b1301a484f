/* The ready body over a real socket, and the client that measures with it. */
#include "server/http/ready.h"

#include "server/command/bench_load.h"
#include "tests/test.h"

#include <string.h>

static void sends_the_same_body_for_every_request(void)
{
    static const char body[] = "{\"ready\": true}";
    struct status st = {0};
    struct ready *ready;
    struct text got = {0}, posted = {0};
    REQUIRE_OK(ready_start(&ready, body, sizeof body - 1, &st), st);
    REQUIRE_OK(bench_load_ask(ready_port(ready), "/", NULL, &got, &st), st);
    CHECK_STRING(got.data, body);
    REQUIRE_OK(bench_load_ask(ready_port(ready), "/else", "{\"a\": 1}", &posted, &st), st);
    CHECK_STRING(posted.data, body);
    text_free(&got);
    text_free(&posted);
    ready_stop(ready);
    ready_stop(NULL);
}

/* Longer than a piece that is received at a time, and not at all. */
static void takes_bodies_of_any_length(void)
{
    static const size_t lengths[] = {0, 1, 600000};
    static char body[600000];
    memset(body, 'x', sizeof body);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct status st = {0};
        struct ready *ready;
        struct text got = {0};
        REQUIRE_OK(ready_start(&ready, body, lengths[i], &st), st);
        struct bench_load load = {
            .port = ready_port(ready), .path = "/", .connections = 3, .seconds = 0.02};
        REQUIRE_OK(bench_load_ask(load.port, "/", NULL, &got, &st), st);
        CHECK(got.length == lengths[i]);
        REQUIRE_OK(bench_load_run(&load, &st), st);
        text_free(&got);
        ready_stop(ready);
    }
}

static void counts_answers_and_their_times(void)
{
    struct status st = {0};
    struct ready *ready;
    REQUIRE_OK(ready_start(&ready, "x", 1, &st), st);
    struct bench_load load = {
        .port = ready_port(ready), .path = "/", .body = "{}", .connections = 16, .seconds = 0.05};
    REQUIRE_OK(bench_load_run(&load, &st), st);
    CHECK(load.per_second > 0);
    CHECK(load.median_ms > 0 && load.median_ms <= load.p99_ms && load.p99_ms <= load.worst_ms);
    ready_stop(ready);
}

static void says_that_nobody_listens(void)
{
    struct status st = {0};
    struct ready *ready;
    struct text got = {0};
    REQUIRE_OK(ready_start(&ready, "x", 1, &st), st);
    struct bench_load load = {
        .port = ready_port(ready), .path = "/", .connections = 1, .seconds = 0.05};
    ready_stop(ready);
    CHECK(bench_load_ask(load.port, "/", NULL, &got, &st) == STATUS_IO);
    CHECK(strstr(st.message, "127.0.0.1:") != NULL);
    CHECK(bench_load_run(&load, &st) == STATUS_IO);
    text_free(&got);
}

static const struct test tests[] = {
    TEST(sends_the_same_body_for_every_request),
    TEST(takes_bodies_of_any_length),
    TEST(counts_answers_and_their_times),
    TEST(says_that_nobody_listens),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
