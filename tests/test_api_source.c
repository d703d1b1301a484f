#include "tests/api.h"

#define BASE "\"modelId\":\"" API_MODEL "\",\"source\":\"" API_SOURCE "\""

static void a_source_says_what_was_counted(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a = api_get(&v, "/api/source/" API_MODEL "/" API_SOURCE);
    CHECK(a.status == 200);
    CHECK(cJSON_IsTrue(v1_at(a.json, "indexed")));
    CHECK(cJSON_IsFalse(v1_at(a.json, "imported")));
    CHECK(v1_number(a.json, "d_sae") == API_D_SAE);
    CHECK(v1_number(a.json, "alive") == 2);
    CHECK(v1_number(a.json, "dead") == API_D_SAE - 2);
    CHECK(v1_number(a.json, "tokens") == API_TOKENS);
    CHECK(v1_number(a.json, "documents") == 2);
    CHECK(v1_number(a.json, "maxActApprox") == 7);
    CHECK_STRING(v1_string(a.json, "corpora.0"), "a corpus");
    CHECK_STRING(v1_string(a.json, "source.id"), API_SOURCE);
    CHECK_STRING(v1_string(a.json, "source.saelensConfig.architecture"), "jumprelu");
    v1_free(&a);
    a = api_get(&v, "/api/source/" API_MODEL "/3-gemmascope-res-2k");
    CHECK(cJSON_IsFalse(v1_at(a.json, "indexed")));
    CHECK(cJSON_IsNull(v1_at(a.json, "dead")));
    v1_free(&a);
    v1_close(&v);
}

static uint32_t word(const unsigned char *bytes, size_t i)
{
    const unsigned char *b = bytes + 4 * i;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void the_summary_is_counts_and_maxima_as_bytes(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    struct exchange *x = exchange_run(
        &v.router, "GET", "/api/source/" API_MODEL "/" API_SOURCE "/summary", NULL, NULL, 0);
    REQUIRE(x);
    CHECK_STRING(x->response.content_type, "application/octet-stream");
    CHECK(x->response.body.length == 4 + 8 * API_D_SAE);
    const unsigned char *bytes = (const unsigned char *)x->response.body.data;
    CHECK(word(bytes, 0) == API_D_SAE);
    CHECK(word(bytes, 1 + API_RARE) == 3);
    CHECK(word(bytes, 1 + API_DENSE) == 100);
    CHECK(word(bytes, 1 + API_DEAD) == 0);
    CHECK(word(bytes, 1 + API_D_SAE + API_RARE) == 0x40E00000); /* 7.0f */
    exchange_close(x);
    struct v1_answer a = api_get(&v, "/api/source/" API_MODEL "/3-gemmascope-res-2k/summary");
    CHECK(a.status == 404);
    CHECK_CONTAINS(v1_string(a.json, "error"), "not been indexed");
    v1_free(&a);
    v1_close(&v);
}

/* The indices of a page, as "5,7,". */
static void indices(struct v1 *v, const char *rest, char *out, size_t size, int *total)
{
    char body[400];
    (void)snprintf(body, sizeof body, "{" BASE "%s}", rest);
    struct v1_answer a = v1_post(v, "/api/source/features", body);
    if (a.status != 200) {
        printf("    %s: %d %s\n", body, a.status, a.text);
        test_failures_++;
    }
    out[0] = '\0';
    const cJSON *row;
    cJSON_ArrayForEach(row, json_get(a.json, "features"))
    {
        size_t n = strlen(out);
        (void)snprintf(out + n, size - n, "%s,", v1_string(row, "index"));
    }
    *total = (int)v1_number(a.json, "total");
    v1_free(&a);
}

static void features_are_sorted_filtered_and_paged(void)
{
    static const struct {
        const char *rest, *indices;
        int total;
    } cases[] = {
        {",\"limit\":3", "0,1,2,", 2048},
        {",\"limit\":3,\"order\":\"desc\"", "2047,2046,2045,", 2048},
        {",\"limit\":3,\"sort\":\"density\",\"order\":\"desc\"", "7,5,0,", 2048},
        {",\"limit\":3,\"sort\":\"max\",\"order\":\"desc\"", "5,7,0,", 2048},
        {",\"limit\":2,\"sort\":\"max\",\"order\":\"desc\",\"offset\":1", "7,0,", 2048},
        {",\"offset\":2046", "2046,2047,", 2048},
        {",\"offset\":9999", "", 2048},
        {",\"filter\":{\"dead\":false}", "5,7,", 2},
        {",\"limit\":2,\"filter\":{\"dead\":true}", "0,1,", 2046},
        {",\"filter\":{\"minDensity\":0.001}", "5,7,", 2},
        {",\"filter\":{\"minDensity\":0.001,\"maxDensity\":0.01}", "5,", 1},
        {",\"filter\":{\"text\":\"light\"}", "5,7,", 2},
        {",\"filter\":{\"text\":\"night\"}", "7,", 1},
        {",\"filter\":{\"text\":\"zebra\"}", "", 0},
        {",\"limit\":3,\"sort\":\"label\"", "5,7,0,", 2048},
        {",\"limit\":3,\"sort\":\"label\",\"order\":\"desc\"", "7,5,0,", 2048},
        {",\"filter\":{\"explained\":true}", "9,", 1},
        {",\"filter\":{\"explained\":false,\"dead\":false}", "5,7,", 2},
    };
    struct v1 v;
    struct status st;
    REQUIRE(api_open(&v));
    struct store_explanation e = {.id = "x",
                                  .model = API_MODEL,
                                  .source = API_SOURCE,
                                  .index = API_DEAD,
                                  .description = "something",
                                  .origin = "imported"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char found[200];
        int total;
        if (strstr(cases[i].rest, "explained\":true")) {
            REQUIRE_OK(store_put_explanations(v.app.store, &e, 1, &st), st);
        }
        indices(&v, cases[i].rest, found, sizeof found, &total);
        CHECK_STRING(found, cases[i].indices);
        CHECK(total == cases[i].total);
    }
    v1_close(&v);
}

static void a_row_has_what_a_list_shows(void)
{
    static const struct v1_bad bad[] = {
        {"{" BASE ",\"sort\":\"size\"}", 400, "\"density\""},
        {"{" BASE ",\"order\":\"up\"}", 400, "order"},
        {"{" BASE ",\"limit\":101}", 400, "1 to 100"},
        {"{" BASE ",\"offset\":-1}", 400, "offset"},
        {"{" BASE ",\"filter\":5}", 422, "filter"},
        {"{" BASE ",\"filter\":{\"dead\":\"yes\"}}", 422, "filter: dead"},
        {"{" BASE ",\"filter\":{\"minDensity\":\"1\"}}", 422, "filter: min_density"},
    };
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a = v1_post(&v, "/api/source/features",
                                 "{" BASE ",\"sort\":\"max\",\"order\":\"desc\",\"limit\":1}");
    CHECK(v1_number(a.json, "features.0.frac_nonzero") == 0.003);
    CHECK(v1_number(a.json, "features.0.maxActApprox") == 7);
    CHECK(v1_number(a.json, "features.0.count") == 3);
    CHECK_CONTAINS(v1_string(a.json, "features.0.label"), "light");
    CHECK(cJSON_IsNull(v1_at(a.json, "features.0.explanation")));
    CHECK(cJSON_IsTrue(v1_at(a.json, "hasMore")));
    CHECK(v1_number(a.json, "nextOffset") == 1);
    v1_free(&a);
    a = v1_post(&v, "/api/source/features",
                "{\"modelId\":\"" API_MODEL "\",\"source\":\"3-gemmascope-res-2k\",\"limit\":1}");
    CHECK(cJSON_IsFalse(v1_at(a.json, "indexed")));
    CHECK(cJSON_IsNull(v1_at(a.json, "features.0.maxActApprox")));
    v1_free(&a);
    v1_refuses(&v, "/api/source/features", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static void neighbours_are_computed_once_and_kept(void)
{
    static const struct v1_bad bad[] = {
        {"{" BASE ",\"index\":5,\"targetSourceId\":\"nope\"}", 404, "nope"},
        {"{" BASE ",\"index\":5,\"targetModelId\":\"nope\"}", 404, "nope"},
        {"{" BASE ",\"index\":5,\"targetSourceId\":\"2-gemmascope-att-2k\"}", 400, "no meaning"},
        {"{" BASE ",\"index\":2048}", 404, "2047"},
        {"{" BASE ",\"index\":5,\"numResults\":129}", 400, "128"},
    };
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a = v1_post(&v, "/api/cossim", "{" BASE ",\"index\":5}");
    struct v1_answer b = v1_post(&v, "/api/cossim", "{" BASE ",\"index\":\"5\"}");
    CHECK(a.status == 200);
    CHECK_STRING(a.text, b.text);
    CHECK(v1_size(a.json, "data.topkDecoderCossimFeatures") == 10);
    CHECK(v1_number(a.json, "data.topkDecoderCossimFeatures.0.feature.index") == 5);
    CHECK_NEAR(v1_number(a.json, "data.topk_decoder_cossim_features.0.cosine_similarity"), 1, 1e-5);
    CHECK_CONTAINS(v1_string(a.json, "data.topkDecoderCossimFeatures.0.description"), "light");
    CHECK(v1_number(a.json, "data.topkDecoderCossimFeatures.1.cosineSimilarity") < 1);
    v1_free(&a);
    v1_free(&b);
    a = api_get(&v, "/api/feature/" API_MODEL "/" API_SOURCE "/5");
    CHECK(v1_size(a.json, "topkCosSimIndices") == 10);
    CHECK(v1_number(a.json, "topkCosSimIndices.0") == 5);
    v1_free(&a);
    v1_refuses(&v, "/api/cossim", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static void models_sets_tokens_and_vectors_are_told(void)
{
    static const struct v1_bad bad[] = {
        {"{\"modelId\":\"" API_MODEL "\",\"prompt\":\"\"}", 400, "prompt"},
        {"{\"modelId\":\"" API_MODEL "\"}", 422, "prompt"},
        {"{\"modelId\":\"x\",\"prompt\":\"a\"}", 404, "x"},
        {"{\"modelId\":\"" API_MODEL "\",\"prompt\":\"a\",\"prependBos\":1}", 422, "prepend_bos"},
    };
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a = v1_post(&v, "/api/model/list", "");
    CHECK_STRING(v1_string(a.json, "0.id"), API_MODEL);
    v1_free(&a);
    a = api_get(&v, "/api/source-set/" API_MODEL "/gemmascope-res-2k");
    CHECK_STRING(v1_string(a.json, "name"), "gemmascope-res-2k");
    CHECK(cJSON_IsTrue(v1_at(a.json, "hasDashboards")));
    CHECK(v1_size(a.json, "sources") == 2);
    CHECK_STRING(v1_string(a.json, "sources.1.id"), "3-gemmascope-res-2k");
    v1_free(&a);
    a = v1_post(&v, "/api/tokenize", "{\"modelId\":\"" API_MODEL "\",\"prompt\":\"a\"}");
    CHECK(v1_number(a.json, "data.tokens.0") == 2);
    CHECK(v1_size(a.json, "data.tokenStrings") == 2);
    v1_free(&a);
    a = v1_post(&v, "/api/vector/get", "{" BASE ",\"index\":\"5\"}");
    CHECK(v1_size(a.json, "vector") == 256);
    CHECK_STRING(v1_string(a.json, "hookName"), "blocks.2.hook_resid_post");
    v1_free(&a);
    v1_refuses(&v, "/api/tokenize", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(a_source_says_what_was_counted),         TEST(the_summary_is_counts_and_maxima_as_bytes),
    TEST(features_are_sorted_filtered_and_paged), TEST(a_row_has_what_a_list_shows),
    TEST(neighbours_are_computed_once_and_kept),  TEST(models_sets_tokens_and_vectors_are_told),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
