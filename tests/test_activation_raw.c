#include "tests/v1.h"

#define PATH "/v1/activation/raw"

static struct safetensors *expected_of(const char *fixture)
{
    char path[128];
    struct status st;
    struct safetensors *file = NULL;
    (void)snprintf(path, sizeof path, V1_ORACLE "/%s/expected.safetensors", fixture);
    if (safetensors_open(&file, path, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return file;
}

static void gives_the_last_rows_of_the_oracle(void)
{
    for (size_t i = 0; i < TEST_COUNT(v1_fixtures); i++) {
        char path[128];
        struct v1 v;
        (void)snprintf(path, sizeof path, V1_ORACLE "/%s", v1_fixtures[i]);
        REQUIRE(v1_open(&v, path));
        struct safetensors *file = expected_of(v1_fixtures[i]);
        REQUIRE(file);
        const struct tensor *resid = safetensors_find(file, "window.resid_post");
        REQUIRE(resid);
        size_t n_layers = (size_t)resid->shape[0], n = (size_t)resid->shape[1],
               width = (size_t)resid->shape[2];
        const float *data = resid->data;
        struct v1_answer a =
            v1_ask_oracle(&v, v1_fixtures[i], "window", PATH, "{\"tokens\":[", "]}");
        CHECK(a.status == 200);
        CHECK(v1_size(a.json, "results.0.activations") == (int)n_layers);
        for (size_t layer = 0; layer < n_layers; layer++) {
            const cJSON *entry =
                cJSON_GetArrayItem(v1_at(a.json, "results.0.activations"), (int)layer);
            CHECK(v1_number(entry, "layer") == (double)layer);
            CHECK(v1_number(entry, "token_indices.0") == (double)(n - 1));
            const cJSON *row = v1_at(entry, "values.0");
            CHECK(cJSON_GetArraySize(row) == (int)width);
            const cJSON *value = row ? row->child : NULL;
            for (size_t d = 0; d < width && value; d++, value = value->next) {
                CHECK_NEAR(value->valuedouble, data[(layer * n + n - 1) * width + d], 1e-3);
            }
        }
        CHECK_STRING(v1_string(a.json, "hook_point"), "residual_stream");
        CHECK_STRING(v1_string(a.json, "hookPoint"), "residual_stream");
        CHECK_STRING(v1_string(a.json, "type"), "final_output_token");
        CHECK_STRING(v1_string(a.json, "dtype"), "float32");
        CHECK_STRING(v1_string(a.json, "device"), "cpu");
        CHECK(v1_both_spellings(a.json) == 0);
        v1_free(&a);
        safetensors_close(file);
        v1_close(&v);
    }
}

static void gives_the_layers_that_are_asked_for_of_every_prompt(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a =
        v1_post(&v, PATH,
                "{\"prompts\":[\"And the LORD\",\"whale\"],\"layers\":[3,1,3],\"hookPoint\":"
                "\"residual_stream\",\"type\":\"final_output_token\"}");
    CHECK(a.status == 200 && v1_size(a.json, "results") == 2);
    CHECK(v1_size(a.json, "results.1.activations") == 2);
    CHECK(v1_number(a.json, "results.1.activations.0.layer") == 1);
    CHECK(v1_number(a.json, "results.1.activations.1.layer") == 3);
    CHECK_STRING(v1_string(a.json, "results.0.token_strings.0"), "<bos>");
    CHECK(v1_number(a.json, "results.0.tokenIds.0") == 2);
    CHECK(v1_size(a.json, "results.0.activations.0.values.0") == 256);
    v1_free(&a);
    v1_close(&v);
}

static void refuses_bad_requests(void)
{
    static const struct v1_bad bad[] = {
        {"{\"prompts\":[\"a\"],\"layers\":[1,5]}", 400,
         "Layers [5] are out of range; this model has 5 layers (0-4)."},
        {"{\"prompts\":[\"a\"],\"layers\":[-1]}", 400, "layers[0]"},
        {"{\"prompts\":[\"a\"],\"layers\":[\"1\"]}", 422, "layers[0]"},
        {"{\"prompts\":[\"a\"],\"layers\":1}", 422, "layers"},
        {"{\"prompts\":[\"a\"],\"hook_point\":\"mlp\"}", 400, "hook_point"},
        {"{\"prompts\":[\"a\"],\"type\":\"all_tokens\"}", 400, "type"},
        {"{\"prompts\":[\"a\"],\"type\":1}", 422, "type"},
        {"{\"prompts\":[]}", 400, "At least one prompt is required"},
        {"{\"prompt\":\"a\"}", 422, "prompts"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, PATH, bad, TEST_COUNT(bad));
    v.app.reply_limit = 1000;
    const struct v1_bad large = {"{\"prompts\":[\"a\"]}", 413, "--reply-limit"};
    v1_refuses(&v, PATH, &large, 1);
    v1_close(&v);
}

static const struct test tests[] = {TEST(gives_the_last_rows_of_the_oracle),
                                    TEST(gives_the_layers_that_are_asked_for_of_every_prompt),
                                    TEST(refuses_bad_requests)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
