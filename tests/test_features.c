#include "tests/oracle.h"
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

/* --- the model's own neurons ------------------------------------------------------------------ */

static void neurons_have_the_oracles_values_with_their_sign(void)
{
    static const struct {
        const char *suffix, *array;
        size_t index;
    } cases[] = {{"", "neurons", 31}, {"-mlp_out", "mlp_out", 17}};
    for (int f = 0; f < 3; f++) { /* the fourth has no internals */
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[f]) && v1_open(&v, o.folder));
        struct oracle_prompt prompt = oracle_prompt_named(&o, "window");
        for (size_t i = 0; i < 2; i++) {
            const struct tensor *want = oracle_array(&o, "window.%s", cases[i].array);
            size_t T = want->shape[1], width = want->shape[2];
            for (size_t layer = 0; layer < want->shape[0]; layer++) {
                char after[96];
                (void)snprintf(after, sizeof after, ",\"source\":\"%zu%s\",\"index\":%zu}", layer,
                               cases[i].suffix, cases[i].index);
                struct v1_answer a =
                    v1_ask_oracle(&v, oracle_names[f], "window", SINGLE, "{\"tokens\":", after);
                REQUIRE(a.status == 200 && T == prompt.n);
                CHECK(v1_size(a.json, "activation.values") == (int)T - 1); /* <bos> is left out */
                double least = 0, most = 0;
                for (size_t t = 1; t < T; t++) {
                    char path[48];
                    (void)snprintf(path, sizeof path, "activation.values.%zu", t - 1);
                    float got = (float)v1_number(a.json, path);
                    oracle_compare(&got, want, (layer * T + t) * width + cases[i].index, 1, 1e-3,
                                   1e-4, cases[i].array);
                    least = t == 1 || (double)got < least ? (double)got : least;
                    most = t == 1 || (double)got > most ? (double)got : most;
                }
                CHECK_NEAR(v1_number(a.json, "activation.min_value"), least, 1e-6);
                CHECK_NEAR(v1_number(a.json, "activation.max_value"), most, 1e-6);
                CHECK(v1_both_spellings(a.json) == 0);
                v1_free(&a);
            }
        }
        v1_close(&v);
        oracle_close(&o);
    }
}

static int64_t rows_kept(struct v1 *v)
{
    struct store_figures figures = {0};
    struct status st = {0};
    CHECK(store_figures(v->app.store, &figures, &st) == 0);
    return figures.activations;
}

static void keeps_nothing_of_neurons_and_needs_no_sae(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    const char *body = "{\"prompt\":\"the sea\",\"source\":\"3\",\"index\":\"8\"}";
    struct v1_answer a = v1_post(&v, SINGLE, body), b = v1_post(&v, SINGLE, body);
    CHECK_STRING(a.cache, "miss");
    CHECK_STRING(b.cache, "miss");
    CHECK_STRING(b.text, a.text ? a.text : "");
    CHECK(rows_kept(&v) == 0);
    v1_free(&a);
    v1_free(&b);
    v1_close(&v);
}

/* One neuron, all of a layer, a layer beside an SAE: the same numbers. */
static void ranks_neurons_by_value_like_features(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer all = v1_post(
        &v, ALL,
        "{\"prompt\":\"the sea and the sky\",\"source_set\":\"neurons\",\"selected_sources\":"
        "[\"3\"],\"ignore_bos\":true,\"num_results\":3}");
    REQUIRE(all.status == 200 && v1_size(all.json, "activations") == 3);
    CHECK_STRING(v1_string(all.json, "activations.0.source"), "3");
    CHECK(v1_number(all.json, "activations.0.max_value") >=
          v1_number(all.json, "activations.1.max_value"));
    char body[128];
    (void)snprintf(body, sizeof body,
                   "{\"prompt\":\"the sea and the sky\",\"source\":\"3\",\"index\":%.0f}",
                   v1_number(all.json, "activations.0.index"));
    struct v1_answer one = v1_post(&v, SINGLE, body);
    CHECK_NEAR(v1_number(one.json, "activation.max_value"),
               v1_number(all.json, "activations.0.max_value"), 0);
    struct v1_answer top = v1_post(
        &v, "/v1/activation/topk-by-token",
        "{\"prompt\":\"the sea and the sky\",\"source\":\"3\",\"top_k\":1,\"ignore_bos\":true}");
    double best = -1e9;
    for (int t = 0; t < v1_size(top.json, "results"); t++) {
        char path[64];
        (void)snprintf(path, sizeof path, "results.%d.top_features.0.activation_value", t);
        best = v1_number(top.json, path) > best ? v1_number(top.json, path) : best;
    }
    CHECK_NEAR(best, v1_number(all.json, "activations.0.max_value"), 0);
    v1_free(&top);
    v1_free(&one);
    v1_free(&all);
    all = v1_post(&v, ALL, "{\"prompt\":\"a\",\"source_set\":\"mlp_out\",\"num_results\":1000}");
    CHECK(all.status == 200 && v1_size(all.json, "activations") == 1000); /* 5 layers of 256 */
    v1_free(&all);
    v1_close(&v);
}

static void refuses_neurons_by_name_where_they_make_no_sense(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const struct v1_bad lists[] = {
        {"{\"prompts\":[\"a\"],\"source\":\"2\"}", 400, "neurons.2 with POST /v1/trace"}};
    v1_refuses(&v, "/v1/activation/source", lists, TEST_COUNT(lists));
    static const struct v1_bad vectors[] = {
        {"{\"source\":\"2-mlp_out\",\"index\":1}", 400, "\"2-mlp_out\" is the model's own"}};
    v1_refuses(&v, "/v1/util/sae-vector", vectors, TEST_COUNT(vectors));
    static const struct v1_bad traces[] = {
        {"{\"prompt\":\"a\",\"read\":[\"pre:2\"]}", 400, "their values are neurons.2"},
        {"{\"prompt\":\"a\",\"read\":[\"recon:2\"]}", 400, "no reconstruction"},
        {"{\"prompt\":\"a\",\"read\":[\"logits\"],\"edits\":[{\"type\":\"splice\","
         "\"source\":\"2-mlp_out\"}]}",
         400, "which have no reconstruction; expected an SAE"}};
    v1_refuses(&v, "/v1/trace", traces, TEST_COUNT(traces));
    static const struct v1_bad steers[] = {
        {"{\"prompt\":\"a\",\"types\":[\"DEFAULT\"],\"sources\":[\"2\"],"
         "\"n_completion_tokens\":1}",
         400, "sources[0]"}};
    v1_refuses(&v, "/v1/steer/completion", steers, TEST_COUNT(steers));
    v.app.reply_limit = 4096; /* 1024 neurons on two tokens take 16384 */
    static const struct v1_bad large[] = {
        {"{\"prompt\":\"a\",\"source\":\"2\",\"top_k\":1}", 413, "--reply-limit"}};
    v1_refuses(&v, "/v1/activation/topk-by-token", large, TEST_COUNT(large));
    v1_close(&v);
}

static void traces_neurons_as_their_point(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, "/v1/trace",
                                 "{\"prompt\":\"the sea\",\"read\":[\"acts:3\",\"input:3\","
                                 "\"neurons.3\"],\"positions\":[2,1]}");
    CHECK(a.status == 200);
    const cJSON *want = v1_at(json_get(json_get(a.json, "tensors"), "neurons.3"), "data");
    CHECK(
        cJSON_Compare(json_get(json_get(json_get(a.json, "tensors"), "acts:3"), "data"), want, 1));
    CHECK(
        cJSON_Compare(json_get(json_get(json_get(a.json, "tensors"), "input:3"), "data"), want, 1));
    CHECK(cJSON_GetArraySize(want) == 2048);
    v1_free(&a);
    v1_close(&v);
}

static const struct test tests[] = {TEST(answers_the_second_time_from_the_database_byte_for_byte),
                                    TEST(computes_only_what_is_missing),
                                    TEST(computes_again_what_does_not_fit_the_source),
                                    TEST(answers_503_when_the_queue_is_full_or_stopped),
                                    TEST(answers_many_at_once_as_one_by_one),
                                    TEST(survives_allocations_that_fail),
                                    TEST(neurons_have_the_oracles_values_with_their_sign),
                                    TEST(keeps_nothing_of_neurons_and_needs_no_sae),
                                    TEST(ranks_neurons_by_value_like_features),
                                    TEST(refuses_neurons_by_name_where_they_make_no_sense),
                                    TEST(traces_neurons_as_their_point)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
