#include "tests/v1.h"

#define PATH "/v1/activation/single"
#define BATCH "/v1/activation/single-batch"
#define SOURCE "\"source\":\"2-gemmascope-res-2k\""

/* demo/reference.json: feature 1038 of the att source is 5.0745 at position 1. */
#define IDS "[2,908,270,3378,1265,1767,270,2125,282,298,270,2333,4034]"

static void gives_the_values_of_one_feature_without_bos(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(
        &v, PATH, "{\"tokens\":" IDS ",\"source\":\"2-gemmascope-att-2k\",\"index\":\"1038\"}");
    CHECK(a.status == 200);
    CHECK(v1_size(a.json, "activation.values") == 12 && v1_size(a.json, "tokens") == 12);
    CHECK(v1_size(a.json, "tokens_is_special") == 12);
    CHECK_NEAR(v1_number(a.json, "activation.values.0"), 5.0745, 1e-3);
    CHECK_NEAR(v1_number(a.json, "activation.values.1"), 3.8624, 1e-3);
    CHECK_NEAR(v1_number(a.json, "activation.max_value"), 5.0745, 1e-3);
    CHECK(v1_number(a.json, "activation.maxValueIndex") == 0);
    CHECK(cJSON_IsNull(v1_at(a.json, "activation.dfa_values")));
    CHECK(cJSON_IsNull(v1_at(a.json, "activation.dfaMaxValue")));
    CHECK(cJSON_IsNull(v1_at(a.json, "activation.dfa_target_index")));
    CHECK(v1_both_spellings(a.json) == 0);
    v1_free(&a);
    v1_close(&v);
}

static void takes_the_index_as_a_number_and_a_literal_bos(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH, "{\"prompt\":\"the whale\"," SOURCE ",\"index\":\"5\"}");
    struct v1_answer b =
        v1_post(&v, PATH, "{\"prompt\":\"<bos>the whale\"," SOURCE ",\"index\":5,\"model\":\"m\"}");
    CHECK(a.status == 200 && b.status == 200);
    CHECK_STRING(a.text, b.text ? b.text : "");
    CHECK_STRING(a.cache, "miss");
    CHECK_STRING(b.cache, "hit");
    CHECK(strstr(a.text, "<bos>") == NULL);
    v1_free(&a);
    v1_free(&b);
    v1_close(&v);
}

/* A later <bos> keeps its place with 0; without one in front nothing is left out. */
static void zeroes_bos_wherever_it_stands(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer dense = v1_post(&v, "/v1/activation/topk-by-token",
                                     "{\"tokens\":[908,2,270]," SOURCE ",\"top_k\":1}");
    char body[160];
    (void)snprintf(body, sizeof body, "{\"tokens\":[908,2,270]," SOURCE ",\"index\":%.0f}",
                   v1_number(dense.json, "results.1.top_features.0.feature_index"));
    CHECK(v1_number(dense.json, "results.1.top_features.0.activation_value") > 0);
    struct v1_answer a = v1_post(&v, PATH, body);
    CHECK(a.status == 200 && v1_size(a.json, "activation.values") == 3);
    CHECK(v1_number(a.json, "activation.values.1") == 0);
    CHECK_STRING(v1_string(a.json, "tokens.1"), "<bos>");
    CHECK(cJSON_IsTrue(v1_at(a.json, "tokensIsSpecial.1")));
    CHECK(cJSON_IsFalse(v1_at(a.json, "tokensIsSpecial.0")));
    v1_free(&a);
    v1_free(&dense);
    v1_close(&v);
}

/* The first answers come from one column of the encoder, the third from a whole row that is kept.
 */
static void no_store_keeps_nothing_and_answers_the_same_bytes(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const char *const rest[] = {",\"no_store\":true}", ",\"noStore\":true}",
                                       ",\"no_store\":false}", ",\"no_store\":true}"};
    static const char *const cache[] = {"miss", "miss", "miss", "hit"};
    struct v1_answer first = {0};
    for (size_t i = 0; i < TEST_COUNT(rest); i++) {
        char body[200];
        (void)snprintf(body, sizeof body,
                       "{\"tokens\":" IDS ",\"source\":\"2-gemmascope-att-2k\",\"index\":1038%s",
                       rest[i]);
        struct v1_answer a = v1_post(&v, PATH, body);
        CHECK(a.status == 200);
        CHECK_STRING(a.cache, cache[i]);
        CHECK_NEAR(v1_number(a.json, "activation.values.0"), 5.0745, 1e-3);
        CHECK_STRING(a.text, first.text ? first.text : a.text);
        if (i == 0) {
            first = a;
        } else {
            v1_free(&a);
        }
    }
    v1_free(&first);
    struct v1_answer wrong =
        v1_post(&v, PATH, "{\"prompt\":\"a\"," SOURCE ",\"index\":1,\"no_store\":\"yes\"}");
    CHECK(wrong.status == 422);
    CHECK_CONTAINS(wrong.text, "no_store");
    v1_free(&wrong);
    v1_close(&v);
}

/* Routes that show all of a row compute it, and keep it only without no_store. */
static void no_store_holds_for_whole_rows(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const char *const rest[] = {",\"no_store\":true}", "}", "}"};
    static const char *const cache[] = {"miss", "miss", "hit"};
    char *first = NULL;
    for (size_t i = 0; i < TEST_COUNT(rest); i++) {
        char body[160];
        (void)snprintf(body, sizeof body, "{\"tokens\":" IDS "," SOURCE ",\"top_k\":3%s", rest[i]);
        struct v1_answer a = v1_post(&v, "/v1/activation/topk-by-token", body);
        CHECK(a.status == 200);
        CHECK_STRING(a.cache, cache[i]);
        first = first ? first : strdup(a.text ? a.text : "");
        CHECK_STRING(a.text, first);
        v1_free(&a);
    }
    free(first);
    v1_close(&v);
}

static void a_silent_feature_has_its_maximum_0_at_0(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_ORACLE "/gemma2-nano-bf16"));
    const struct sae_source *source = v1_source(&v, POINT_RESID_POST, false);
    REQUIRE(source);
    char body[160];
    (void)snprintf(body, sizeof body, "{\"tokens\":[2,5,6],\"source\":\"%s\",\"index\":%zu}",
                   source->name, source->d_sae - 1); /* never active: README of the oracle */
    struct v1_answer a = v1_post(&v, PATH, body);
    CHECK(a.status == 200);
    CHECK(v1_number(a.json, "activation.max_value") == 0);
    CHECK(v1_number(a.json, "activation.max_value_index") == 0);
    CHECK(v1_size(a.json, "activation.values") == 2);
    v1_free(&a);
    v1_close(&v);
}

static void multiplies_a_vector_with_the_rows_of_a_hook(void)
{
    for (size_t i = 0; i < TEST_COUNT(v1_fixtures); i++) {
        char path[128];
        struct v1 v;
        struct status st;
        struct safetensors *file;
        (void)snprintf(path, sizeof path, V1_ORACLE "/%s", v1_fixtures[i]);
        REQUIRE(v1_open(&v, path));
        (void)snprintf(path, sizeof path, V1_ORACLE "/%s/expected.safetensors", v1_fixtures[i]);
        REQUIRE_OK(safetensors_open(&file, path, &st), st);
        const struct tensor *resid = safetensors_find(file, "seven.resid_post");
        REQUIRE(resid);
        size_t n = resid->shape[1], width = resid->shape[2];
        struct text after = {0};
        text_string(&after, ",\"hook\":\"blocks.2.hook_resid_post\",\"vector\":[");
        for (size_t d = 0; d < width; d++) {
            text_printf(&after, "%s%.2f", d ? "," : "", 0.25 * (double)(d % 5) - 0.5);
        }
        text_string(&after, "]}");
        struct v1_answer a =
            v1_ask_oracle(&v, v1_fixtures[i], "seven", PATH, "{\"tokens\":", after.data);
        CHECK(a.status == 200);
        CHECK_STRING(a.cache, "");
        CHECK(v1_size(a.json, "activation.values") == (int)n); /* <bos> too */
        for (size_t t = 0; t < n; t++) {
            double dot = 0;
            for (size_t d = 0; d < width; d++) {
                dot += (double)tensor_get(resid, (2 * n + t) * width + d) *
                       (0.25 * (double)(d % 5) - 0.5);
            }
            (void)snprintf(path, sizeof path, "activation.values.%zu", t);
            CHECK_NEAR(v1_number(a.json, path), dot, 3e-3);
        }
        v1_free(&a);
        text_free(&after);
        safetensors_close(file);
        v1_close(&v);
    }
}

static void gives_a_batch_what_each_prompt_gets_alone(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer one =
        v1_post(&v, PATH, "{\"prompt\":\"And the LORD said\"," SOURCE ",\"index\":\"7\"}");
    struct v1_answer two = v1_post(
        &v, BATCH, "{\"prompts\":[\"And the LORD said\",\"whale\"]," SOURCE ",\"index\":\"7\"}");
    CHECK(one.status == 200 && two.status == 200 && v1_size(two.json, "results") == 2);
    CHECK(one.json && cJSON_Compare(one.json, v1_at(two.json, "results.0"), true));
    v1_free(&one);
    v1_free(&two);
    struct text body = {0};
    text_string(&body, "{\"prompts\":[\"a\",\"b c\"],\"hook\":\"resid_post.0\",\"vector\":[1");
    for (int i = 1; i < 256; i++) {
        text_string(&body, ",0");
    }
    text_string(&body, "]}");
    two = v1_post(&v, BATCH, body.data);
    CHECK(two.status == 200 && v1_size(two.json, "results") == 2);
    CHECK_STRING(v1_string(two.json, "results.1.tokens.0"), "<bos>");
    v1_free(&two);
    text_free(&body);
    v1_close(&v);
}

static void refuses_bad_requests(void)
{
    static const struct v1_bad bad[] = {
        {"{" SOURCE ",\"index\":\"1\"}", 422, "prompt"},
        {"{\"prompt\":\"a\"}", 400, "exactly one of source/index or vector/hook"},
        {"{\"prompt\":\"a\"," SOURCE "}", 400, "exactly one of"},
        {"{\"prompt\":\"a\",\"index\":\"1\"}", 400, "exactly one of"},
        {"{\"prompt\":\"a\"," SOURCE ",\"index\":\"1\",\"hook\":\"resid_post.1\"}", 400,
         "exactly one of"},
        {"{\"prompt\":\"a\"," SOURCE ",\"index\":\"1\",\"vector\":[1],\"hook\":\"embed\"}", 400,
         "exactly one of"},
        {"{\"prompt\":\"a\"," SOURCE ",\"index\":\"2048\"}", 400, "index: expected 0 to 2047"},
        {"{\"prompt\":\"a\"," SOURCE ",\"index\":-1}", 400, "index: expected 0 to 2047"},
        {"{\"prompt\":\"a\"," SOURCE ",\"index\":\"dog\"}", 400, "index: expected 0 to 2047"},
        {"{\"prompt\":\"a\"," SOURCE ",\"index\":1.5}", 422, "index"},
        {"{\"prompt\":\"a\"," SOURCE ",\"index\":[1]}", 422, "index"},
        {"{\"prompt\":\"a\",\"source\":\"2-none\",\"index\":\"1\"}", 404, "2-none"},
        {"{\"prompt\":\"a\",\"source\":7,\"index\":\"1\"}", 422, "source"},
        {"{\"prompt\":\"a\",\"vector\":[1,2],\"hook\":\"resid_post.1\"}", 400,
         "vector: expected 256 numbers"},
        {"{\"prompt\":\"a\",\"vector\":[1,2],\"hook\":\"resid_post.5\"}", 400, "hook: "},
        {"{\"prompt\":\"a\",\"vector\":[1,2],\"hook\":\"nowhere\"}", 400, "hook: "},
        {"{\"prompt\":\"a\",\"vector\":[1,\"x\"],\"hook\":\"resid_post.1\"}", 422, "vector[1]"},
        {"{\"prompt\":\"a\",\"vector\":\"x\",\"hook\":\"resid_post.1\"}", 422, "vector"},
        {"{\"prompt\":\"a\",\"vector\":[1],\"hook\":3}", 422, "hook"},
        {"{\"prompt\":\"\"," SOURCE ",\"index\":\"1\"}", 400, "prompt: there is no token besides"},
        {"{\"tokens\":[2]," SOURCE ",\"index\":\"1\"}", 400, "tokens: there is no token besides"},
        {"{\"prompt\":\"a\",\"tokens\":[2,5]," SOURCE ",\"index\":\"1\"}", 400, "not both"},
        {"{\"prompt\":\"a\\u0000b\"," SOURCE ",\"index\":\"1\"}", 400, "U+0000"},
        {"{\"prompt\":\"a\",\"model\":5," SOURCE ",\"index\":\"1\"}", 422, "model"}};
    static const struct v1_bad batch[] = {
        {"{\"prompts\":[]," SOURCE ",\"index\":\"1\"}", 400, "At least one prompt is required"},
        {"{\"prompts\":[\"a\",\"\"]," SOURCE ",\"index\":\"1\"}", 400, "prompts[1]: there is no"},
        {"{\"prompt\":\"a\"," SOURCE ",\"index\":\"1\"}", 422, "prompts"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, PATH, bad, TEST_COUNT(bad));
    v1_refuses(&v, BATCH, batch, TEST_COUNT(batch));
    v1_close(&v);
}

static const struct test tests[] = {TEST(gives_the_values_of_one_feature_without_bos),
                                    TEST(takes_the_index_as_a_number_and_a_literal_bos),
                                    TEST(zeroes_bos_wherever_it_stands),
                                    TEST(no_store_keeps_nothing_and_answers_the_same_bytes),
                                    TEST(no_store_holds_for_whole_rows),
                                    TEST(a_silent_feature_has_its_maximum_0_at_0),
                                    TEST(multiplies_a_vector_with_the_rows_of_a_hook),
                                    TEST(gives_a_batch_what_each_prompt_gets_alone),
                                    TEST(refuses_bad_requests)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
