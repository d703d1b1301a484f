#include "tests/v1.h"

#define PATH "/v1/activation/all"
#define BATCH "/v1/activation/all-batch"
#define RES "\"source_set\":\"gemmascope-res-2k\""

static double number_at(const cJSON *activation, const char *path)
{
    return v1_number(activation, path);
}

/* By falling key; equal ones by source (of the order of names), then index. */
static bool in_order(const cJSON *activations, const char *key)
{
    for (const cJSON *a = activations ? activations->child : NULL; a && a->next; a = a->next) {
        double here = number_at(a, key), next = number_at(a->next, key);
        int names = strcmp(v1_string(a, "source"), v1_string(a->next, "source"));
        bool tie =
            here == next &&
            (names < 0 || (names == 0 && number_at(a, "index") < number_at(a->next, "index")));
        if (!(here > next || tie)) {
            printf("    index %g (%g) stands before %g (%g)\n", number_at(a, "index"), here,
                   number_at(a->next, "index"), next);
            return false;
        }
    }
    return true;
}

static void ranks_the_features_of_all_sources_by_maximum(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH,
                                 "{\"prompt\":\"And the LORD said\",\"model\":\"gemma-2-demo\"," RES
                                 ",\"selected_sources\""
                                 ":[],\"sort_by_token_indexes\":[],\"ignore_bos\":true}");
    CHECK(a.status == 200);
    CHECK(v1_size(a.json, "activations") == 25);
    CHECK(in_order(v1_at(a.json, "activations"), "max_value"));
    bool second = false, third = false;
    const cJSON *activation;
    cJSON_ArrayForEach(activation, v1_at(a.json, "activations"))
    {
        second = second || strcmp(v1_string(activation, "source"), "2-gemmascope-res-2k") == 0;
        third = third || strcmp(v1_string(activation, "source"), "3-gemmascope-res-2k") == 0;
        CHECK(v1_number(activation, "values.0") == 0); /* <bos> is zeroed, not dropped */
        CHECK(v1_number(activation, "sum_values") == 0);
        CHECK(v1_number(activation, "maxValueIndex") >= 1);
        CHECK(cJSON_IsNull(v1_at(activation, "dfa_values")));
    }
    CHECK(second && third);
    CHECK_STRING(v1_string(a.json, "tokens.0"), "<bos>");
    CHECK(v1_size(a.json, "tokens") == v1_size(a.json, "activations.0.values"));
    CHECK(cJSON_IsNull(v1_at(a.json, "counts")));
    CHECK(v1_both_spellings(a.json) == 0);
    v1_free(&a);
    v1_close(&v);
}

static void keeps_bos_unless_told(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH, "{\"prompt\":\"whale\"," RES ",\"num_results\":1000}");
    CHECK(a.status == 200 && v1_size(a.json, "activations") == 1000);
    int with_bos = 0;
    const cJSON *activation;
    cJSON_ArrayForEach(activation, v1_at(a.json, "activations"))
    {
        with_bos += v1_number(activation, "values.0") > 0;
    }
    CHECK(with_bos > 0);
    v1_free(&a);
    /* Ids without <bos> in front: there is none to leave out. */
    a = v1_post(&v, PATH,
                "{\"tokens\":[908,270]," RES ",\"num_results\":1000,\"ignore_bos\":true}");
    with_bos = 0;
    cJSON_ArrayForEach(activation, v1_at(a.json, "activations"))
    {
        with_bos += v1_number(activation, "values.0") > 0;
    }
    CHECK(with_bos > 0);
    v1_free(&a);
    v1_close(&v);
}

static void sorts_by_the_sum_over_listed_tokens(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(
        &v, PATH,
        "{\"prompt\":\"And the LORD said\",\"sourceSet\":\"gemmascope-res-2k\",\"selectedSources\":"
        "[\"3-gemmascope-res-2k\"],\"sortByTokenIndexes\":[1,3],\"numResults\":50}");
    CHECK(a.status == 200 && v1_size(a.json, "activations") == 50);
    CHECK(in_order(v1_at(a.json, "activations"), "sum_values"));
    const cJSON *activation;
    cJSON_ArrayForEach(activation, v1_at(a.json, "activations"))
    {
        CHECK_STRING(v1_string(activation, "source"), "3-gemmascope-res-2k");
        CHECK_NEAR(v1_number(activation, "sumValues"),
                   v1_number(activation, "values.1") + v1_number(activation, "values.3"), 1e-4);
    }
    CHECK(v1_number(a.json, "activations.0.sum_values") > 0);
    v1_free(&a);
    v1_close(&v);
}

static void fills_up_with_silent_features(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH,
                                 "{\"prompt\":\"whale\"," RES ",\"num_results\":5000,"
                                 "\"selected_sources\":[\"2-gemmascope-res-2k\"]}");
    CHECK(a.status == 200 && v1_size(a.json, "activations") == 1000); /* the cap */
    CHECK(in_order(v1_at(a.json, "activations"), "max_value"));
    CHECK(v1_number(a.json, "activations.999.max_value") == 0);
    CHECK(v1_number(a.json, "activations.0.max_value") > 0);
    v1_free(&a);
    v1_close(&v);
}

/* Two sparsities of one layer: the second has a __suffix, and is meant only when it is named. */
static void keeps_the_name_of_a_source_with_a_suffix(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_ORACLE "/gemma2-nano-f32-sharded"));
    REQUIRE(catalogue_find(engine_catalogue(v.app.engine), "0-gemmascope-res-96__l0-2"));
    struct v1_answer a = v1_post(&v, PATH,
                                 "{\"tokens\":[2,5,6],\"source_set\":\"gemmascope-res-96\","
                                 "\"selected_sources\":[\"0-gemmascope-res-96__l0-2\"]}");
    CHECK(a.status == 200);
    CHECK_STRING(v1_string(a.json, "activations.0.source"), "0-gemmascope-res-96__l0-2");
    v1_free(&a);
    a = v1_post(&v, PATH,
                "{\"tokens\":[2,5,6],\"source_set\":\"gemmascope-res-96\",\"num_results\":1000}");
    CHECK(a.status == 200 && v1_size(a.json, "activations") > 0);
    CHECK(a.text && strstr(a.text, "__l0-2") == NULL);
    v1_free(&a);
    v1_close(&v);
}

static void gives_a_batch_what_each_prompt_gets_alone(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer one = v1_post(&v, PATH, "{\"prompt\":\"the sea\"," RES ",\"num_results\":7}");
    struct v1_answer two =
        v1_post(&v, BATCH, "{\"prompts\":[\"a whale\",\"the sea\"]," RES ",\"num_results\":7}");
    CHECK(one.status == 200 && two.status == 200);
    CHECK_STRING(two.cache, "partial");
    CHECK(one.json && cJSON_Compare(one.json, v1_at(two.json, "results.1"), true));
    CHECK(v1_size(two.json, "results") == 2);
    v1_free(&one);
    v1_free(&two);
    v1_close(&v);
}

static void refuses_bad_requests(void)
{
    static const struct v1_bad bad[] = {
        {"{\"prompt\":\"a\"}", 422, "source_set: this field is missing"},
        {"{\"prompt\":\"a\",\"source_set\":5}", 422, "source_set"},
        {"{\"prompt\":\"a\",\"source_set\":\"none\"}", 400, "Invalid source set"},
        {"{\"prompt\":\"a\"," RES ",\"sourceSet\":\"other\"}", 400, "sourceSet"},
        {"{\"prompt\":\"a\"," RES ",\"selected_sources\":\"x\"}", 422, "selected_sources"},
        {"{\"prompt\":\"a\"," RES ",\"selected_sources\":[1]}", 422, "selected_sources[0]"},
        {"{\"prompt\":\"a\"," RES ",\"selected_sources\":[\"9-x\"]}", 404, "selected_sources[0]"},
        {"{\"prompt\":\"a\"," RES ",\"selected_sources\":[\"2-gemmascope-mlp-2k\"]}", 400,
         "belongs to the source set"},
        {"{\"prompt\":\"a\"," RES ",\"sort_by_token_indexes\":[9]}", 400,
         "sort_by_token_indexes[0]"},
        {"{\"prompt\":\"a\"," RES ",\"sort_by_token_indexes\":[-1]}", 400,
         "sort_by_token_indexes[0]"},
        {"{\"prompt\":\"a\"," RES ",\"sort_by_token_indexes\":[0,\"1\"]}", 422,
         "sort_by_token_indexes[1]"},
        {"{\"prompt\":\"a\"," RES ",\"num_results\":0}", 400, "num_results"},
        {"{\"prompt\":\"a\"," RES ",\"num_results\":\"9\"}", 422, "num_results"},
        {"{\"prompt\":\"a\"," RES ",\"ignore_bos\":\"no\"}", 422, "ignore_bos"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, PATH, bad, TEST_COUNT(bad));
    v.app.reply_limit = 100;
    const struct v1_bad large = {"{\"prompt\":\"a\"," RES ",\"num_results\":100}", 413,
                                 "--reply-limit"};
    v1_refuses(&v, PATH, &large, 1);
    v1_close(&v);
}

static const struct test tests[] = {TEST(ranks_the_features_of_all_sources_by_maximum),
                                    TEST(keeps_bos_unless_told),
                                    TEST(sorts_by_the_sum_over_listed_tokens),
                                    TEST(fills_up_with_silent_features),
                                    TEST(keeps_the_name_of_a_source_with_a_suffix),
                                    TEST(gives_a_batch_what_each_prompt_gets_alone),
                                    TEST(refuses_bad_requests)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
