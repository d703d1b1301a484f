#include "server/api/index.h"

#include "tests/v1.h"

#include <time.h>

static void wait_for_the_end(struct v1 *v)
{
    struct index_jobs_state state = {0};
    struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    for (int i = 0; i < 12000; i++) {
        CHECK(index_jobs_state(v->app.index_jobs, &state, NULL));
        if (strcmp(state.state, "running") != 0) {
            return;
        }
        (void)nanosleep(&pause, NULL);
    }
    CHECK(!"the job came to an end");
}

static struct v1_answer list(struct v1 *v)
{
    struct v1_answer a = {0};
    struct exchange *x = exchange_run(&v->router, "GET", "/api/index", NULL, NULL, 0);
    if (x) {
        a.status = x->response.status;
        a.text = memory_string_n(x->response.body.data, x->response.body.length);
        a.json = cJSON_Parse(a.text);
        exchange_close(x);
    }
    return a;
}

static void indexes_texts_and_says_how_it_went(void)
{
    struct v1 v;
    if (!v1_open(&v, V1_DEMO)) {
        return;
    }
    struct v1_answer a =
        v1_post(&v, "/api/index",
                "{\"texts\":[\"In the beginning\",\"And the earth\",\"In the beginning\"],"
                "\"sources\":[\"2-gemmascope-res-2k\",\"2-gemmascope-res-2k\"]}");
    CHECK(a.status == 200);
    CHECK_NEAR(v1_number(a.json, "id"), 1, 0);
    v1_free(&a);
    wait_for_the_end(&v);
    a = list(&v);
    CHECK_STRING(v1_string(a.json, "jobs.0.state"), "done");
    CHECK_NEAR(v1_number(a.json, "jobs.0.request.numTexts"), 3, 0);
    CHECK(v1_at(a.json, "jobs.0.request.texts") == NULL);
    CHECK_NEAR(v1_number(a.json, "jobs.0.progress.documents"), 1, 0);
    CHECK(v1_number(a.json, "jobs.0.progress.tokens") > 4);
    CHECK_STRING(v1_string(a.json, "jobs.0.error"), "");
    v1_free(&a);
    v1_close(&v);
}

/* Neurons leave nothing unexplained: a job may have them, and evaluates the SAEs beside them. */
static void evaluates_its_saes_if_asked_to(void)
{
    struct v1 v;
    if (!v1_open(&v, V1_DEMO)) {
        return;
    }
    struct v1_answer a = v1_post(&v, "/api/index",
                                 "{\"corpus\":\"demo\",\"limit_tokens\":700,"
                                 "\"evaluate_tokens\":300,\"context\":64,"
                                 "\"sources\":[\"1-mlp_out\",\"2-gemmascope-res-2k\"]}");
    CHECK(a.status == 200);
    v1_free(&a);
    wait_for_the_end(&v);
    a = list(&v);
    CHECK_STRING(v1_string(a.json, "jobs.0.state"), "done");
    CHECK_STRING(v1_string(a.json, "jobs.0.progress.phase"), "evaluation");
    CHECK_NEAR(v1_number(a.json, "jobs.0.progress.tokens"), 11 * 63, 0);
    CHECK_NEAR(v1_number(a.json, "jobs.0.progress.evaluated"), 4 * 63, 0);
    CHECK_NEAR(v1_number(a.json, "jobs.0.progress.ofEvaluated"), 300, 0);
    v1_free(&a);
    struct exchange *x = exchange_run(
        &v.router, "GET", "/api/source/gemma-2-demo/2-gemmascope-res-2k/evaluation", NULL, NULL, 0);
    REQUIRE(x);
    CHECK_CONTAINS(x->response.body.data, "\"tokens\":252,");
    CHECK_CONTAINS(x->response.body.data, "\"finished\":true");
    exchange_close(x);
    v1_close(&v);
}

static void refuses_what_it_cannot_index(void)
{
    static const struct v1_bad bad[] = {
        {"{}", 422, "corpus"},
        {"{\"corpus\":\"/etc/passwd\"}", 400, "darkmatter index"},
        {"{\"corpus\":\"demo/corpus/demo-corpus.jsonl\"}", 400, "only \"demo\""},
        {"{\"corpus\":\"demo\",\"texts\":[\"a\"]}", 422, "corpus"},
        {"{\"corpus\":5}", 422, "corpus"},
        {"{\"texts\":\"a\"}", 422, "texts"},
        {"{\"texts\":[5]}", 422, "texts: entry 0"},
        {"{\"corpus\":\"demo\",\"sources\":[\"9-none\"]}", 404, "9-none"},
        {"{\"corpus\":\"demo\",\"context\":1}", 400, "context"},
        {"{\"corpus\":\"demo\",\"context\":257}", 400, "context"},
        {"{\"corpus\":\"demo\",\"limit_tokens\":0}", 400, "limit_tokens"},
        {"{\"corpus\":\"demo\",\"name\":\"\"}", 400, "name"},
        {"[]", 400, ""},
    };
    static const struct v1_bad cancel[] = {{"{}", 422, "id"}, {"{\"id\":1}", 404, "id"}};
    struct v1 v;
    if (!v1_open(&v, V1_DEMO)) {
        return;
    }
    v1_refuses(&v, "/api/index", bad, sizeof bad / sizeof bad[0]);
    v1_refuses(&v, "/api/index/cancel", cancel, 2);
    struct v1_answer a = list(&v);
    CHECK(a.status == 200 && v1_size(a.json, "jobs") == 0);
    v1_free(&a);
    v1_close(&v);
}

static void one_runs_at_a_time_and_can_be_cancelled_or_interrupted(void)
{
    struct v1 v;
    struct status st = {0};
    if (!v1_open(&v, V1_DEMO)) {
        return;
    }
    REQUIRE_OK(index_on_start(&v.app, true, true, &st), st); /* the first tokens of the demo */
    static const struct v1_bad busy[] = {{"{\"corpus\":\"demo\"}", 503, "index job 1 runs"}};
    v1_refuses(&v, "/api/index", busy, 1);
    struct v1_answer a = v1_post(&v, "/api/index/cancel", "{\"id\":1}");
    CHECK(a.status == 200);
    v1_free(&a);
    wait_for_the_end(&v);
    REQUIRE_OK(index_on_start(&v.app, true, true, &st), st); /* cancelled: left alone */
    a = list(&v);
    CHECK(v1_size(a.json, "jobs") == 1);
    CHECK_STRING(v1_string(a.json, "jobs.0.state"), "cancelled");
    v1_free(&a);
    a = v1_post(&v, "/api/index", "{\"corpus\":\"demo\"}");
    CHECK(a.status == 200);
    v1_free(&a);
    index_jobs_stop(v.app.index_jobs);
    a = list(&v);
    CHECK_STRING(v1_string(a.json, "jobs.0.state"), "interrupted");
    v1_free(&a);
    static const struct v1_bad stopped[] = {{"{\"corpus\":\"demo\"}", 503, "stopping"}};
    v1_refuses(&v, "/api/index", stopped, 1);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(indexes_texts_and_says_how_it_went),
    TEST(evaluates_its_saes_if_asked_to),
    TEST(refuses_what_it_cannot_index),
    TEST(one_runs_at_a_time_and_can_be_cancelled_or_interrupted),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
