#include "tests/v1.h"

#define PATH "/v1/activation/source"

/* acts [n, d_sae] of the oracle against {"feature": [[position, value]]}, position 0 left out. */
static void compare(const cJSON *active, const float *acts, size_t n, size_t d_sae)
{
    int listed = 0, expected = 0;
    for (size_t t = 1; t < n; t++) {
        for (size_t j = 0; j < d_sae; j++) {
            expected += acts[t * d_sae + j] > 0;
        }
    }
    int before = -1;
    for (const cJSON *feature = active ? active->child : NULL; feature; feature = feature->next) {
        int index = atoi(feature->string);
        CHECK(index > before);
        before = index;
        const cJSON *pair;
        cJSON_ArrayForEach(pair, feature)
        {
            size_t t = (size_t)v1_number(pair, "0");
            REQUIRE(t >= 1 && t < n && (size_t)index < d_sae);
            CHECK_NEAR(v1_number(pair, "1"), acts[t * d_sae + (size_t)index], 1.6e-3);
            listed++;
        }
    }
    CHECK(listed == expected && expected > 0);
}

static void gives_every_activation_of_the_oracle(void)
{
    static const struct {
        const char *array;
        enum point input;
    } saes[] = {{"window.sae_res.acts", POINT_RESID_POST},
                {"window.sae_mlp.acts", POINT_MLP_OUT},
                {"window.sae_att.acts", POINT_Z}};
    for (size_t i = 0; i < TEST_COUNT(v1_fixtures); i++) {
        char path[128];
        struct v1 v;
        struct status st;
        struct safetensors *file;
        (void)snprintf(path, sizeof path, V1_ORACLE "/%s", v1_fixtures[i]);
        REQUIRE(v1_open(&v, path));
        (void)snprintf(path, sizeof path, V1_ORACLE "/%s/expected.safetensors", v1_fixtures[i]);
        REQUIRE_OK(safetensors_open(&file, path, &st), st);
        for (size_t s = 0; s < TEST_COUNT(saes); s++) {
            const struct tensor *acts = safetensors_find(file, saes[s].array);
            const struct sae_source *source = v1_source(&v, saes[s].input, false);
            REQUIRE(acts && source);
            char after[96];
            (void)snprintf(after, sizeof after, "],\"source\":\"%s\"}", source->name);
            struct v1_answer a =
                v1_ask_oracle(&v, v1_fixtures[i], "window", PATH, "{\"tokens\":[", after);
            CHECK(a.status == 200);
            CHECK_STRING(a.cache, "miss");
            compare(v1_at(a.json, "results.0.activeFeatures"), acts->data, (size_t)acts->shape[0],
                    (size_t)acts->shape[1]);
            CHECK(v1_size(a.json, "results.0.tokens") == (int)acts->shape[0]);
            CHECK_STRING(v1_string(a.json, "results.0.tokens.0"), "<id:2>");
            CHECK(v1_both_spellings(a.json) == 0);
            v1_free(&a);
        }
        safetensors_close(file);
        v1_close(&v);
    }
}

static bool lists_position_0(const cJSON *active)
{
    for (const cJSON *feature = active ? active->child : NULL; feature; feature = feature->next) {
        const cJSON *pair;
        cJSON_ArrayForEach(pair, feature)
        {
            if (v1_number(pair, "0") == 0) {
                return true;
            }
        }
    }
    return false;
}

static void leaves_out_position_0_only_where_it_is_bos(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(
        &v, PATH,
        "{\"tokens\":[[2,908,270],[908,270]],\"source\":\"2-gemmascope-res-2k\",\"model\":\"x\"}");
    CHECK(a.status == 200);
    CHECK(!lists_position_0(v1_at(a.json, "results.0.active_features")));
    CHECK(lists_position_0(v1_at(a.json, "results.1.active_features")));
    v1_free(&a);
    v1_close(&v);
}

static void refuses_bad_requests(void)
{
    static const struct v1_bad bad[] = {
        {"{\"prompts\":[\"a\"]}", 422, "source: this field is missing"},
        {"{\"prompts\":[\"a\"],\"source\":3}", 422, "source: expected a string"},
        {"{\"prompts\":[\"a\"],\"source\":\"9-nothing\"}", 404, "GET /v1/capabilities"},
        {"{\"prompts\":[\"a\"],\"source\":\"9-nothing\"}", 404, "9-nothing"},
        {"{\"source\":\"2-gemmascope-res-2k\"}", 422, "prompts"},
        {"{\"prompts\":\"a\",\"source\":\"2-gemmascope-res-2k\"}", 422, "prompts"},
        {"{\"prompts\":[\"a\"],\"source\":\"2-gemmascope-res-2k\",\"model\":[]}", 422, "model"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, PATH, bad, TEST_COUNT(bad));
    v1_close(&v);
}

static const struct test tests[] = {TEST(gives_every_activation_of_the_oracle),
                                    TEST(leaves_out_position_0_only_where_it_is_bos),
                                    TEST(refuses_bad_requests)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
