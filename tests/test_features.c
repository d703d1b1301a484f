#include "tests/v1.h"

#include <pthread.h>

#define SINGLE "/v1/activation/single"
#define ALL "/v1/activation/all"
#define RES "\"source_set\":\"gemmascope-res-2k\""

static void answers_the_second_time_from_the_database_byte_for_byte(void)
{
    static const struct {
        const char *path, *body;
    } cases[] = {
        {SINGLE, "{\"prompt\":\"one fish\",\"source\":\"2-gemmascope-res-2k\",\"index\":\"3\"}"},
        {ALL, "{\"prompt\":\"two fish\"," RES ",\"num_results\":40}"},
        {"/v1/activation/topk-by-token",
         "{\"prompt\":\"red fish\",\"source\":\"2-gemmascope-att-2k\"}"},
        {"/v1/activation/source",
         "{\"prompts\":[\"blue fish\",\"no fish\"],\"source\":\"2-gemmascope-mlp-2k\"}"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct v1_answer first = v1_post(&v, cases[i].path, cases[i].body);
        uint64_t computed = engine_tokens_computed(v.app.engine);
        struct v1_answer second = v1_post(&v, cases[i].path, cases[i].body);
        CHECK(first.status == 200 && second.status == 200);
        CHECK_STRING(first.cache, "miss");
        CHECK_STRING(second.cache, "hit");
        CHECK(engine_tokens_computed(v.app.engine) == computed);
        CHECK_STRING(second.text, first.text ? first.text : "");
        v1_free(&first);
        v1_free(&second);
    }
    /* 1, 2 sources, 1, 2 prompts */
    CHECK(atomic_load(&v.metrics.cache_hits) == 6 && atomic_load(&v.metrics.cache_misses) == 6);
    v1_close(&v);
}

/* The same text under a source that is there and one that is not. */
static void computes_only_what_is_missing(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(
        &v, SINGLE, "{\"prompt\":\"the sea\",\"source\":\"3-gemmascope-res-2k\",\"index\":1}");
    CHECK_STRING(a.cache, "miss");
    v1_free(&a);
    a = v1_post(&v, ALL, "{\"prompt\":\"the sea\"," RES "}");
    CHECK_STRING(a.cache, "partial");
    struct v1_answer b = v1_post(&v, ALL, "{\"prompt\":\"the sea\"," RES "}");
    CHECK_STRING(b.cache, "hit");
    CHECK_STRING(b.text, a.text ? a.text : "");
    v1_free(&a);
    v1_free(&b);
    v1_close(&v);
}

static void computes_again_what_does_not_fit_the_source(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct status st;
    int64_t row;
    REQUIRE_OK(sources_row(v.app.sources, "2-gemmascope-res-2k", &row, &st), st);
    const int32_t ids[] = {2, 908};
    const uint32_t index[] = {2048}; /* d_sae */
    const float value[] = {1};
    struct sparse rows = {0};
    sparse_append(&rows, index, value, 1);
    sparse_append(&rows, index, value, 1);
    struct store_activations entry = {.source = row, .ids = ids, .n = 2, .rows = &rows};
    REQUIRE_OK(store_write_activations(v.app.store, sources_model(v.app.sources), &entry, 1, &st),
               st);
    sparse_free(&rows);
    struct v1_answer a = v1_post(
        &v, SINGLE, "{\"tokens\":[2,908],\"source\":\"2-gemmascope-res-2k\",\"index\":\"3\"}");
    CHECK(a.status == 200);
    CHECK_STRING(a.cache, "miss");
    v1_free(&a);
    v1_close(&v);
}

static void answers_503_when_the_queue_is_full_or_stopped(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    queue_stop(v.app.queue);
    struct exchange *x =
        exchange_run(&v.router, "POST", SINGLE, NULL,
                     "{\"prompt\":\"a b\",\"source\":\"2-gemmascope-res-2k\",\"index\":\"3\"}", 59);
    REQUIRE(x);
    CHECK(x->response.status == 503);
    CHECK_CONTAINS(x->response.body.data, "stopping");
    bool retry = false;
    for (size_t i = 0; i < x->response.n_headers; i++) {
        retry = retry || strcmp(x->response.headers[i].name, "Retry-After") == 0;
    }
    CHECK(retry);
    exchange_close(x);
    v1_close(&v);
}

struct asker {
    struct v1 *v;
    int number;
    char *text;
};

static void *ask(void *argument)
{
    struct asker *asker = argument;
    char body[128];
    (void)snprintf(body, sizeof body,
                   "{\"tokens\":[2,%d,908],\"source\":\"2-gemmascope-res-2k\",\"top_k\":4}",
                   100 + asker->number % 4);
    struct v1_answer a = v1_post(asker->v, "/v1/activation/topk-by-token", body);
    asker->text = a.text;
    cJSON_Delete(a.json);
    return NULL;
}

static void answers_many_at_once_as_one_by_one(void)
{
    enum { ASKERS = 12 };
    struct v1 v;
    pthread_t threads[ASKERS];
    struct asker askers[ASKERS];
    REQUIRE(v1_open(&v, V1_DEMO));
    for (int i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.v = &v, .number = i};
        REQUIRE(pthread_create(&threads[i], NULL, ask, &askers[i]) == 0);
    }
    for (int i = 0; i < ASKERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_CONTAINS(askers[i].text, "top_features");
    }
    for (int i = 0; i < ASKERS; i++) {
        struct asker again = {.v = &v, .number = i};
        (void)ask(&again);
        CHECK_STRING(again.text, askers[i].text ? askers[i].text : "");
        memory_free(again.text);
    }
    for (int i = 0; i < ASKERS; i++) {
        memory_free(askers[i].text);
    }
    v1_close(&v);
}

/* Whatever allocation fails, in the handler or in the worker: an answer, and no leak. */
static void survives_allocations_that_fail(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    const char *warm = "{\"tokens\":[2,5]," RES "}";
    struct v1_answer a = v1_post(&v, ALL, warm);
    CHECK(a.status == 200);
    v1_free(&a);
    bool done = false;
    for (long nth = 1; !done && nth < 2000; nth += 7) {
        char body[128];
        (void)snprintf(body, sizeof body, "{\"tokens\":[2,908,%ld]," RES "}", nth);
        memory_fail_after(nth);
        struct exchange *x = exchange_run(&v.router, "POST", ALL, NULL, body, strlen(body));
        done = memory_fail_after(0) < nth;
        if (x) {
            CHECK(x->response.status == 200 || x->response.status >= 500);
            exchange_close(x);
        }
    }
    CHECK(done);
    a = v1_post(&v, ALL, warm);
    CHECK_STRING(a.cache, "hit");
    v1_free(&a);
    v1_close(&v);
}

static const struct test tests[] = {TEST(answers_the_second_time_from_the_database_byte_for_byte),
                                    TEST(computes_only_what_is_missing),
                                    TEST(computes_again_what_does_not_fit_the_source),
                                    TEST(answers_503_when_the_queue_is_full_or_stopped),
                                    TEST(answers_many_at_once_as_one_by_one),
                                    TEST(survives_allocations_that_fail)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
