#include "tests/api.h"

#define BASE "\"modelId\":\"" API_MODEL "\""
#define ONE BASE ",\"source\":\"" API_SOURCE "\""
#define TEXT "And there was light."

static void a_text_gives_the_values_of_v1_without_bos(void)
{
    static const char *const keys[] = {
        "tokens",    "values",      "maxValue",       "minValue",
        "modelId",   "layer",       "index",          "maxValueTokenIndex",
        "creatorId", "dataIndex",   "dataSource",     "createdAt",
        "dfaValues", "dfaMaxValue", "dfaTargetIndex", NULL};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a =
        v1_post(&v, "/api/activation/new",
                "{\"feature\":{" ONE ",\"index\":\"140\"},\"customText\":\"" TEXT "\"}");
    struct v1_answer b = v1_post(&v, "/v1/activation/single",
                                 "{\"prompt\":\"" TEXT "\",\"model\":\"\",\"source\":\"" API_SOURCE
                                 "\",\"index\":\"140\"}");
    CHECK(a.status == 200);
    CHECK(api_has_keys(a.json, keys));
    CHECK(cJSON_Compare(v1_at(a.json, "values"), v1_at(b.json, "activation.values"), true));
    CHECK(cJSON_Compare(v1_at(a.json, "tokens"), v1_at(b.json, "tokens"), true));
    CHECK(v1_number(a.json, "maxValue") == v1_number(b.json, "activation.max_value"));
    CHECK(v1_number(a.json, "maxValueTokenIndex") ==
          v1_number(b.json, "activation.max_value_index"));
    CHECK(v1_number(a.json, "maxValue") > 5);
    CHECK(v1_number(a.json, "minValue") == 0);
    CHECK_STRING(v1_string(a.json, "layer"), API_SOURCE);
    CHECK_STRING(v1_string(a.json, "index"), "140");
    CHECK_STRING(v1_string(a.json, "dataSource"), "Neuronpedia");
    CHECK(v1_size(a.json, "tokens") == v1_size(a.json, "values"));
    CHECK_STRING(b.cache, "hit"); /* what one route computed, the other reads */
    v1_free(&a);
    v1_free(&b);
    v1_close(&v);
}

static void a_list_of_texts_gives_a_list_and_the_older_name_works(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, "/api/activation/new",
                                 "{\"neuron\":{" BASE ",\"layer\":\"" API_SOURCE
                                 "\",\"index\":\"140\"},\"customText\":[\"light\",\"" TEXT "\"]}");
    CHECK(a.status == 200);
    CHECK(cJSON_GetArraySize(a.json) == 2);
    CHECK(v1_size(a.json, "0.tokens") == 1);
    CHECK_STRING(v1_string(a.json, "0.tokens.0"), "light");
    v1_free(&a);
    static const struct v1_bad bad[] = {
        {"{}", 422, "feature"},
        {"{\"feature\":5,\"customText\":\"a\"}", 422, "feature"},
        {"{\"feature\":{" ONE ",\"index\":\"140\"}}", 422, "custom_text"},
        {"{\"feature\":{" ONE ",\"index\":\"140\"},\"customText\":5}", 422, "custom_text"},
        {"{\"feature\":{" ONE ",\"index\":\"140\"},\"customText\":[]}", 400, "custom_text"},
        {"{\"feature\":{" ONE ",\"index\":\"140\"},\"customText\":\"\"}", 400, "custom_text"},
        {"{\"feature\":{" ONE ",\"index\":\"140\"},\"customText\":\"<bos>\"}", 400, "<bos>"},
        {"{\"feature\":{" ONE ",\"index\":\"2048\"},\"customText\":\"a\"}", 404, "2047"},
        {"{\"feature\":{" ONE "},\"customText\":\"a\"}", 422, "index"},
        {"{\"feature\":{\"modelId\":\"x\",\"source\":\"" API_SOURCE
         "\",\"index\":\"1\"},\"customText\":\"a\"}",
         404, "\"x\""},
    };
    v1_refuses(&v, "/api/activation/new", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static void a_source_on_a_text_comes_in_upstreams_envelope(void)
{
    static const struct v1_bad bad[] = {
        {"{" ONE ",\"customText\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", 400, "1 to 4"},
        {"{" BASE ",\"source\":\"nope\",\"customText\":\"a\"}", 404, "nope"},
        {"{" BASE ",\"customText\":\"a\"}", 422, "source"},
    };
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a =
        v1_post(&v, "/api/activation/source", "{" ONE ",\"customText\":\"" TEXT "\"}");
    struct v1_answer b =
        v1_post(&v, "/v1/activation/source",
                "{\"prompts\":[\"" TEXT "\"],\"model\":\"\",\"source\":\"" API_SOURCE "\"}");
    CHECK(cJSON_Compare(v1_at(a.json, "data.results.0.activeFeatures"),
                        v1_at(b.json, "results.0.activeFeatures"), true));
    CHECK_STRING(v1_string(a.json, "data.results.0.tokens.0"), "<bos>");
    CHECK(cJSON_IsObject(v1_at(a.json, "response")));
    v1_free(&a);
    v1_free(&b);
    v1_refuses(&v, "/api/activation/source", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

#define ALL BASE ",\"sourceSet\":\"gemmascope-res-2k\",\"text\":\"" TEXT "\""

static void search_all_orders_by_the_maximum_and_keeps_bos_as_a_token(void)
{
    static const char *const keys[] = {"modelId",  "layer",         "index",  "values",
                                       "maxValue", "maxValueIndex", "neuron", NULL};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a =
        v1_post(&v, "/api/search-all",
                "{" ALL ",\"selectedLayers\":[],\"sortIndexes\":[],\"ignoreBos\":true}");
    CHECK(a.status == 200);
    int n = v1_size(a.json, "result");
    CHECK(n > 10 && n <= 50);
    CHECK_STRING(v1_string(a.json, "tokens.0"), "<bos>");
    CHECK(v1_size(a.json, "sortIndexes") == 0);
    double before = INFINITY;
    bool other = false;
    const cJSON *row;
    cJSON_ArrayForEach(row, json_get(a.json, "result"))
    {
        double value = v1_number(row, "maxValue");
        CHECK(value > 0 && value <= before);
        CHECK(v1_number(row, "values.0") == 0); /* <bos> does not count */
        CHECK(v1_size(row, "values") == v1_size(a.json, "tokens"));
        other = other || strcmp(v1_string(row, "layer"), "3-gemmascope-res-2k") == 0;
        before = value;
    }
    CHECK(other); /* both sources of the set */
    CHECK(api_has_keys(v1_at(a.json, "result.0"), keys));
    CHECK_STRING(v1_string(a.json, "result.0.neuron.index"), v1_string(a.json, "result.0.index"));
    v1_free(&a);
    v1_close(&v);
}

static void search_all_sorts_by_chosen_tokens_and_drops_what_is_silent_there(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, "/api/search-all",
                                 "{" ALL ",\"selectedLayers\":[\"" API_SOURCE
                                 "\"],\"sortIndexes\":[2,4],\"ignoreBos\":true,\"numResults\":5}");
    CHECK(v1_size(a.json, "result") == 5);
    CHECK(v1_number(a.json, "sortIndexes.1") == 4);
    double before = INFINITY;
    const cJSON *row;
    cJSON_ArrayForEach(row, json_get(a.json, "result"))
    {
        double sum = v1_number(row, "values.2") + v1_number(row, "values.4");
        CHECK(sum > 0 && sum <= before + 1e-5);
        CHECK_STRING(v1_string(row, "layer"), API_SOURCE);
        before = sum;
    }
    v1_free(&a);
    a = v1_post(&v, "/api/search-all",
                "{" BASE ",\"sourceSet\":\"gemmascope-res-2k\",\"text\":[\"" TEXT
                "\",\"a\"],\"selectedLayers\":[],\"sortIndexes\":[],\"ignoreBos\":true,"
                "\"numResults\":3}");
    CHECK(v1_size(a.json, "results") == 2);
    CHECK(v1_size(a.json, "results.1.result") == 3);
    CHECK(!v1_at(a.json, "results.0.result.0.neuron"));
    v1_free(&a);
    v1_close(&v);
}

/* Feature 140 fires on " there"; a dashboard that calls it dense keeps it out. */
static bool make_dense(struct v1 *v, uint32_t index)
{
    static uint32_t counts[API_D_SAE];
    static float maxima[API_D_SAE];
    struct store_dashboard d = {.documents = 1,
                                .tokens = 1000,
                                .context = 5,
                                .corpora = "[]",
                                .counts = counts,
                                .maxima = maxima,
                                .d_sae = API_D_SAE};
    struct store_dashboard_writer *w;
    struct status st;
    int64_t source;
    memset(counts, 0, sizeof counts);
    counts[index] = 11; /* 1.1 % */
    maxima[index] = 1;
    return !sources_row(v->app.sources, API_SOURCE, &source, &st) &&
           !store_dashboard_begin(v->app.store, source, &d, &w, &st) &&
           !store_dashboard_end(w, &st);
}

static int times_found(const cJSON *rows, const char *index)
{
    int n = 0;
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
    {
        n += strcmp(v1_string(row, "index"), index) == 0 &&
             strcmp(v1_string(row, "layer"), API_SOURCE) == 0;
    }
    return n;
}

static void the_density_threshold_leaves_dense_features_out(void)
{
    static const char *const thresholds[] = {"-1", "0.02", "0.01"};
    static const int found[] = {1, 1, 0};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    REQUIRE(make_dense(&v, 140));
    for (size_t i = 0; i < 3; i++) {
        char body[400];
        (void)snprintf(body, sizeof body,
                       "{" ALL ",\"selectedLayers\":[],\"sortIndexes\":[2],\"ignoreBos\":true,"
                       "\"numResults\":100,\"densityThreshold\":%s}",
                       thresholds[i]);
        struct v1_answer a = v1_post(&v, "/api/search-all", body);
        CHECK(times_found(json_get(a.json, "result"), "140") == found[i]);
        v1_free(&a);
    }
    /* top-k by token leaves out what is over 1 % unless told otherwise */
    struct v1_answer a =
        v1_post(&v, "/api/search-topk-by-token", "{" ONE ",\"text\":\"" TEXT "\"}");
    struct v1_answer b = v1_post(&v, "/api/search-topk-by-token",
                                 "{" ONE ",\"text\":\"" TEXT "\",\"densityThreshold\":-1}");
    CHECK(!strstr(a.text, "\"featureIndex\":140,"));
    CHECK(strstr(b.text, "\"featureIndex\":140,") != NULL);
    v1_free(&a);
    v1_free(&b);
    v1_close(&v);
}

static void search_all_names_what_is_wrong(void)
{
    static const struct v1_bad bad[] = {
        {"{" BASE ",\"text\":\"a\"}", 422, "source_set"},
        {"{" BASE ",\"sourceSet\":\"nope\",\"text\":\"a\"}", 404, "nope"},
        {"{" BASE ",\"sourceSet\":\"gemmascope-res-2k\"}", 422, "text"},
        {"{\"modelId\":\"x\",\"sourceSet\":\"gemmascope-res-2k\",\"text\":\"a\"}", 404, "\"x\""},
        {"{" ALL ",\"selectedLayers\":[\"2-gemmascope-att-2k\"]}", 400, "belongs to"},
        {"{" ALL ",\"selectedLayers\":[\"nope\"]}", 404, "nope"},
        {"{" ALL ",\"numResults\":101}", 400, "1 to 100"},
        {"{" ALL ",\"numResults\":0}", 400, "1 to 100"},
        {"{" ALL ",\"sortIndexes\":[99]}", 400, "sort_indexes[0]"},
        {"{" ALL ",\"sortIndexes\":[\"a\"]}", 422, "sort_indexes[0]"},
        {"{" ALL ",\"densityThreshold\":1.5}", 400, "density_threshold"},
        {"{" ALL ",\"densityThreshold\":-0.5}", 400, "density_threshold"},
        {"{" ALL ",\"densityThreshold\":\"a\"}", 422, "density_threshold"},
        {"{" ALL ",\"ignoreBos\":1}", 422, "ignore_bos"},
    };
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, "/api/search-all", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static void topk_gives_falling_features_of_every_plain_token(void)
{
    static const struct v1_bad bad[] = {
        {"{" ONE "}", 422, "text"},
        {"{" ONE ",\"text\":\"a\",\"numResults\":21}", 400, "1 to 20"},
        {"{" BASE ",\"source\":\"a-name-that-is-longer-than-fifty-characters-by-some\",\"text\":"
         "\"a\"}",
         400, "at most 50"},
        {"{" BASE ",\"source\":\"nope\",\"text\":\"a\"}", 404, "nope"},
    };
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a =
        v1_post(&v, "/api/search-topk-by-token", "{" ONE ",\"text\":\"" TEXT "<eos>\"}");
    CHECK(a.status == 200);
    CHECK_STRING(v1_string(a.json, "source"), API_SOURCE);
    CHECK(v1_size(a.json, "results") == 5); /* neither <bos> nor <eos> */
    CHECK(v1_number(a.json, "results.0.position") == 1);
    CHECK(v1_number(a.json, "results.0.topFeatures.0.activationValue") >=
          v1_number(a.json, "results.0.topFeatures.1.activationValue"));
    CHECK(v1_size(a.json, "results.0.topFeatures") <= 10);
    CHECK_STRING(v1_string(a.json, "results.0.topFeatures.0.feature.layer"), API_SOURCE);
    v1_free(&a);
    a = v1_post(&v, "/api/search-topk-by-token",
                "{" ONE ",\"text\":\"" TEXT "<eos>\",\"ignoreBos\":false}");
    CHECK(v1_size(a.json, "results") == 7);
    CHECK(cJSON_IsTrue(v1_at(a.json, "results.0.isSpecial")));
    v1_free(&a);
    a = v1_post(&v, "/api/search-topk-by-token", "{" ONE ",\"text\":[\"a<eos>\",\"b\"]}");
    CHECK(v1_size(a.json, "results") == 2);
    CHECK(v1_size(a.json, "results.0.results") == 2); /* a batch keeps special tokens */
    v1_free(&a);
    v1_refuses(&v, "/api/search-topk-by-token", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static void features_are_found_by_a_token_that_they_fire_on(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a =
        v1_post(&v, "/api/search-token", "{" ONE ",\"token\":\" light\",\"mode\":\"fires\"}");
    CHECK(a.status == 200);
    CHECK(v1_number(a.json, "total") == 2);
    CHECK_STRING(v1_string(a.json, "results.0.index"), "5"); /* its first token */
    CHECK_STRING(v1_string(a.json, "results.1.index"), "7"); /* its second */
    CHECK(v1_number(a.json, "results.1.place") == 1);
    v1_free(&a);
    a = v1_post(&v, "/api/search-token", "{" ONE ",\"token\":\"\\n\",\"mode\":\"fires\"}");
    CHECK(v1_number(a.json, "total") == 1);
    v1_free(&a);
    a = v1_post(&v, "/api/search-token", "{" ONE ",\"token\":\" day\",\"mode\":\"fires\"}");
    CHECK(v1_number(a.json, "total") == 0); /* 5 promotes it, it does not fire on it */
    v1_free(&a);
    a = v1_post(&v, "/api/search-token", "{" ONE ",\"token\":1003,\"mode\":\"promotes\"}");
    CHECK(v1_number(a.json, "total") == 1);
    CHECK(v1_number(a.json, "results.0.logit") == 0.82346);
    CHECK(v1_number(a.json, "tokenId") == 1003);
    v1_free(&a);
    /* Of all sources in one request; three of the four have not been indexed. */
    a = v1_post(&v, "/api/search-token", "{" BASE ",\"token\":\" light\",\"mode\":\"fires\"}");
    CHECK(a.status == 200 && v1_number(a.json, "total") == 2);
    CHECK_STRING(v1_string(a.json, "results.0.layer"), API_SOURCE);
    CHECK(cJSON_IsNull(v1_at(a.json, "source")) && v1_size(a.json, "notIndexed") == 3);
    v1_free(&a);
    a = v1_post(&v, "/api/search-token", "{" BASE ",\"token\":1003,\"mode\":\"promotes\"}");
    CHECK(a.status == 200 && v1_number(a.json, "results.0.logit") == 0.82346);
    v1_free(&a);
    v1_close(&v);
}

/* U . W_dec[f], with the embedding as a trace reads it, which is U times sqrt(256). */
static void what_promotes_a_token_is_computed_where_nothing_is_indexed(void)
{
    struct v1 v;
    float *row = NULL;
    size_t n = 0;
    struct status st;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a =
        v1_post(&v, "/api/search-token", "{" ONE ",\"token\":\" light\",\"mode\":\"promotes\"}");
    CHECK(a.status == 200);
    CHECK(cJSON_IsFalse(v1_at(a.json, "indexed")));
    CHECK(v1_size(a.json, "results") == 20);
    CHECK(v1_number(a.json, "results.0.logit") > v1_number(a.json, "results.19.logit"));
    char body[100];
    (void)snprintf(body, sizeof body, "{\"tokens\":[%d],\"read\":[\"embed\"]}",
                   (int)v1_number(a.json, "tokenId"));
    struct v1_answer b = v1_post(&v, "/v1/trace", body);
    const cJSON *embed = v1_at(b.json, "tensors.embed.data");
    embed = embed ? embed : v1_at(b.json, "embed");
    const char *index = v1_string(a.json, "results.0.index");
    REQUIRE_OK(engine_decoder_vector(v.app.engine, API_SOURCE, (size_t)atoi(index), &row, &n, &st),
               st);
    double dot = 0;
    size_t i = 0;
    for (const cJSON *at = cJSON_IsArray(embed->child) ? embed->child->child : embed->child;
         at && i < n; at = at->next) {
        dot += at->valuedouble * (double)row[i++] / 16; /* sqrt(256) */
    }
    CHECK(i == n);
    CHECK_NEAR(v1_number(a.json, "results.0.logit"), dot, 1e-4);
    memory_free(row);
    v1_free(&a);
    v1_free(&b);
    static const struct v1_bad bad[] = {
        {"{" ONE ",\"token\":\"a b\",\"mode\":\"fires\"}", 400, "one token"},
        {"{" ONE ",\"token\":9999999,\"mode\":\"fires\"}", 400, "vocabulary"},
        {"{" ONE ",\"token\":true,\"mode\":\"fires\"}", 422, "token"},
        {"{" ONE ",\"token\":\"a\",\"mode\":\"x\"}", 400, "mode"},
        {"{" ONE ",\"mode\":\"fires\"}", 422, "token"},
        {"{" ONE ",\"token\":\"a\"}", 422, "mode"},
        {"{" BASE ",\"source\":\"2-gemmascope-att-2k\",\"token\":\"a\",\"mode\":\"promotes\"}", 501,
         "indexed"},
    };
    v1_refuses(&v, "/api/search-token", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(a_text_gives_the_values_of_v1_without_bos),
    TEST(a_list_of_texts_gives_a_list_and_the_older_name_works),
    TEST(a_source_on_a_text_comes_in_upstreams_envelope),
    TEST(search_all_orders_by_the_maximum_and_keeps_bos_as_a_token),
    TEST(search_all_sorts_by_chosen_tokens_and_drops_what_is_silent_there),
    TEST(the_density_threshold_leaves_dense_features_out),
    TEST(search_all_names_what_is_wrong),
    TEST(topk_gives_falling_features_of_every_plain_token),
    TEST(features_are_found_by_a_token_that_they_fire_on),
    TEST(what_promotes_a_token_is_computed_where_nothing_is_indexed),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
