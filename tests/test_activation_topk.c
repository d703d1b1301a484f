#include "tests/v1.h"

#define PATH "/v1/activation/topk-by-token"
#define BATCH "/v1/activation/topk-by-token-batch"

/* demo/reference.json: per SAE folder and position, the strongest features and their number. */
static void gives_the_demo_s_reference(void)
{
    static const struct {
        const char *folder, *source;
    } saes[] = {
        {"saes/gemma-scope-demo-att/layer_2/width_2k/average_l0_19", "2-gemmascope-att-2k"},
        {"saes/gemma-scope-demo-mlp/layer_2/width_2k/average_l0_18", "2-gemmascope-mlp-2k"},
        {"saes/gemma-scope-demo-res/layer_2/width_2k/average_l0_21", "2-gemmascope-res-2k"},
        {"saes/gemma-scope-demo-res/layer_3/width_2k/average_l0_25", "3-gemmascope-res-2k"}};
    struct status st;
    struct v1 v;
    cJSON *reference;
    REQUIRE_OK(json_parse_file(&reference, "demo/reference.json", 1 << 20, &st), st);
    REQUIRE(v1_open(&v, V1_DEMO));
    char *ids = cJSON_PrintUnformatted(json_get(reference, "ids"));
    for (size_t s = 0; s < TEST_COUNT(saes); s++) {
        struct text body = {0};
        text_printf(&body, "{\"tokens\":%s,\"source\":\"%s\",\"topK\":6,\"ignoreBos\":true}", ids,
                    saes[s].source);
        struct v1_answer a = v1_post(&v, PATH, body.data);
        CHECK(a.status == 200);
        const cJSON *expected,
            *found = v1_at(a.json, "results") ? v1_at(a.json, "results")->child : NULL;
        int rows = 0;
        cJSON_ArrayForEach(expected, json_get(json_get(reference, "saes"), saes[s].folder))
        {
            CHECK(v1_number(found, "token_position") == v1_number(expected, "position"));
            CHECK(v1_size(found, "top_features") == 6);
            for (int i = 0; i < 6; i++) {
                const cJSON *top = cJSON_GetArrayItem(v1_at(expected, "top"), i);
                const cJSON *feature = cJSON_GetArrayItem(v1_at(found, "topFeatures"), i);
                CHECK(v1_number(feature, "feature_index") == v1_number(top, "0"));
                CHECK_NEAR(v1_number(feature, "activationValue"), v1_number(top, "1"), 1e-3);
            }
            found = found ? found->next : NULL;
            rows++;
        }
        CHECK(rows == 12 && found == NULL);
        CHECK(v1_size(a.json, "tokens") == 13);
        CHECK(v1_both_spellings(a.json) == 0);
        v1_free(&a);
        text_free(&body);
    }
    free(ids);
    cJSON_Delete(reference);
    v1_close(&v);
}

static void fills_up_with_zeros_lowest_index_first(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH,
                                 "{\"prompt\":\"whale\",\"source\":\"2-gemmascope-res-2k\","
                                 "\"top_k\":99999,\"ignore_bos\":true}");
    REQUIRE(a.status == 200);
    const cJSON *features = v1_at(a.json, "results.0.top_features");
    CHECK(cJSON_GetArraySize(features) == 2048); /* clamped to d_sae */
    double value = (double)INFINITY, index = -1;
    bool seen[2048] = {false};
    const cJSON *feature;
    cJSON_ArrayForEach(feature, features)
    {
        double v_now = v1_number(feature, "activation_value");
        double i_now = v1_number(feature, "feature_index");
        CHECK(v_now < value || (v_now == value && i_now > index));
        REQUIRE(i_now >= 0 && i_now < 2048 && !seen[(int)i_now]);
        seen[(int)i_now] = true;
        value = v_now;
        index = i_now;
    }
    CHECK(value == 0);
    v1_free(&a);
    a = v1_post(&v, PATH, "{\"prompt\":\"whale\",\"source\":\"2-gemmascope-res-2k\",\"top_k\":0}");
    CHECK(v1_size(a.json, "results.0.top_features") == 1);
    CHECK(v1_number(a.json, "results.0.token_position") == 0);
    CHECK(cJSON_IsTrue(v1_at(a.json, "results.0.is_special")));
    CHECK(cJSON_IsFalse(v1_at(a.json, "results.1.isSpecial")));
    v1_free(&a);
    v1_close(&v);
}

static void gives_a_batch_what_each_prompt_gets_alone(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer one = v1_post(&v, PATH,
                                   "{\"prompt\":\"And the LORD said\",\"ignore_bos\":true,"
                                   "\"source\":\"3-gemmascope-res-2k\",\"top_k\":3}");
    struct v1_answer two = v1_post(&v, BATCH,
                                   "{\"prompts\":[\"the whale\",\"And the LORD said\"],"
                                   "\"ignoreBos\":true,\"source\":\"3-gemmascope-res-2k\","
                                   "\"topK\":3}");
    CHECK(one.status == 200 && two.status == 200);
    CHECK_STRING(one.cache, "miss");
    CHECK_STRING(two.cache, "partial");
    CHECK(v1_size(two.json, "results") == 2);
    CHECK(one.json && cJSON_Compare(v1_at(two.json, "results.1"), one.json, true));
    v1_free(&one);
    v1_free(&two);
    v1_close(&v);
}

static void refuses_bad_requests(void)
{
    static const struct v1_bad bad[] = {
        {"{\"prompt\":\"a\"}", 422, "source: this field is missing"},
        {"{\"prompt\":\"a\",\"source\":\"1-x\"}", 404, "source: there is no source \"1-x\""},
        {"{\"prompt\":\"a\",\"source\":\"2-gemmascope-res-2k\",\"top_k\":\"5\"}", 422, "top_k"},
        {"{\"prompt\":\"a\",\"source\":\"2-gemmascope-res-2k\",\"top_k\":2.5}", 422, "top_k"},
        {"{\"prompt\":\"a\",\"source\":\"2-gemmascope-res-2k\",\"ignore_bos\":1}", 422,
         "ignore_bos"},
        {"{\"prompts\":[\"a\"],\"source\":\"2-gemmascope-res-2k\"}", 422, "prompt"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, PATH, bad, TEST_COUNT(bad));
    v.app.reply_limit = 100000;
    const struct v1_bad large = {
        "{\"prompt\":\"a\",\"source\":\"2-gemmascope-res-2k\",\"top_k\":2048}", 413,
        "--reply-limit"};
    v1_refuses(&v, PATH, &large, 1);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(gives_the_demo_s_reference), TEST(fills_up_with_zeros_lowest_index_first),
    TEST(gives_a_batch_what_each_prompt_gets_alone), TEST(refuses_bad_requests)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
