#include "tests/api.h"

#define BASE "\"modelId\":\"" API_MODEL "\""
#define FEATURE BASE ",\"source\":\"" API_SOURCE "\",\"index\":\"5\""

static bool put(struct v1 *v, const char *id, int64_t index, const char *description)
{
    struct status st;
    struct store_explanation e = {.id = id,
                                  .model = API_MODEL,
                                  .source = API_SOURCE,
                                  .index = index,
                                  .description = description,
                                  .type_name = "oai_token-act-pair",
                                  .explainer = "gpt-4o-mini",
                                  .origin = "imported",
                                  .other = "{\"scores\":[{\"value\":0.5}],\"scoreV1\":3}"};
    return !store_put_explanations(v->app.store, &e, 1, &st);
}

static void an_explanation_is_added_changed_and_removed(void)
{
    char body[200], id[64];
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a = v1_post(&v, "/api/explanation/new",
                                 "{" FEATURE ",\"description\":\"words about brightness\"}");
    CHECK(a.status == 200);
    CHECK_STRING(v1_string(a.json, "description"), "words about brightness");
    CHECK_STRING(v1_string(a.json, "origin"), "here");
    CHECK_STRING(v1_string(a.json, "index"), "5");
    CHECK(strlen(v1_string(a.json, "createdAt")) == 24);
    (void)snprintf(id, sizeof id, "%s", v1_string(a.json, "id"));
    v1_free(&a);
    (void)snprintf(body, sizeof body, "{\"id\":\"%s\",\"description\":\"about dawn\"}", id);
    a = v1_post(&v, "/api/explanation/edit", body);
    CHECK(a.status == 200);
    CHECK_STRING(v1_string(a.json, "id"), id);
    v1_free(&a);
    a = api_get(&v, "/api/feature/" API_MODEL "/" API_SOURCE "/5");
    CHECK(v1_size(a.json, "explanations") == 1);
    CHECK_STRING(v1_string(a.json, "explanations.0.description"), "about dawn");
    v1_free(&a);
    (void)snprintf(body, sizeof body, "{\"id\":\"%s\"}", id);
    a = v1_post(&v, "/api/explanation/delete", body);
    CHECK(a.status == 200 && cJSON_IsTrue(v1_at(a.json, "deleted")));
    v1_free(&a);
    a = v1_post(&v, "/api/explanation/delete", body);
    CHECK(a.status == 404);
    v1_free(&a);
    a = api_get(&v, "/api/feature/" API_MODEL "/" API_SOURCE "/5");
    CHECK(v1_size(a.json, "explanations") == 0);
    v1_free(&a);
    v1_close(&v);
}

static void imported_ones_stay_as_they_came(void)
{
    static const struct v1_bad edit[] = {
        {"{\"id\":\"one\",\"description\":\"mine\"}", 400, "imported"},
        {"{\"id\":\"none\",\"description\":\"mine\"}", 404, "none"},
        {"{\"id\":\"one\"}", 422, "description"},
        {"{\"description\":\"mine\"}", 422, "id"},
    };
    static const struct v1_bad delete[] = {
        {"{\"id\":\"one\"}", 400, "imported"}, {"{\"id\":5}", 422, "id"}, {"{}", 422, "id"}};
    static const struct v1_bad new[] = {
        {"{" FEATURE ",\"description\":\" \\n\"}", 400, "description"},
        {"{" FEATURE "}", 422, "description"},
        {"{" FEATURE ",\"description\":\"a\",\"id\":\"one\"}", 400, "already"},
        {"{" FEATURE ",\"description\":\"a\",\"id\":\"\"}", 400, "id"},
        {"{" BASE ",\"source\":\"nope\",\"index\":\"5\",\"description\":\"a\"}", 404, "nope"},
        {"{\"modelId\":\"x\",\"source\":\"" API_SOURCE "\",\"index\":\"5\",\"description\":\"a\"}",
         404, "\"x\""},
        {"{" BASE ",\"source\":\"" API_SOURCE "\",\"index\":\"2048\",\"description\":\"a\"}", 404,
         "2047"},
    };
    struct v1 v;
    REQUIRE(api_open(&v));
    REQUIRE(put(&v, "one", 5, "words about light"));
    v1_refuses(&v, "/api/explanation/edit", edit, sizeof edit / sizeof *edit);
    v1_refuses(&v, "/api/explanation/delete", delete, sizeof delete / sizeof *delete);
    v1_refuses(&v, "/api/explanation/new", new, sizeof new / sizeof *new);
    struct v1_answer a = api_get(&v, "/api/feature/" API_MODEL "/" API_SOURCE "/5");
    CHECK_STRING(v1_string(a.json, "explanations.0.typeName"), "oai_token-act-pair");
    CHECK_STRING(v1_string(a.json, "explanations.0.explanationModelName"), "gpt-4o-mini");
    CHECK(v1_number(a.json, "explanations.0.scores.0.value") == 0.5);
    CHECK(v1_number(a.json, "explanations.0.scoreV1") == 3);
    CHECK_STRING(v1_string(a.json, "explanations.0.origin"), "imported");
    v1_free(&a);
    v1_close(&v);
}

static void words_find_explanations_and_labels(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    REQUIRE(put(&v, "one", 9, "phrases about evening"));
    struct v1_answer a =
        v1_post(&v, "/api/explanation/search",
                "{" BASE ",\"layers\":[\"" API_SOURCE "\"],\"query\":\"evening\"}");
    CHECK(a.status == 200);
    CHECK(v1_number(a.json, "resultsCount") == 1);
    CHECK(cJSON_IsFalse(v1_at(a.json, "hasMore")));
    CHECK_STRING(v1_string(a.json, "request.query"), "evening");
    CHECK_STRING(v1_string(a.json, "results.0.index"), "9");
    CHECK_STRING(v1_string(a.json, "results.0.layer"), API_SOURCE);
    CHECK_STRING(v1_string(a.json, "results.0.typeName"), "oai_token-act-pair");
    CHECK(v1_number(a.json, "results.0.cosine_similarity") > 0);
    CHECK(v1_number(a.json, "results.0.cosine_similarity") <= 1);
    CHECK_STRING(v1_string(a.json, "results.0.neuron.index"), "9");
    v1_free(&a);
    a = v1_post(&v, "/api/explanation/search-model", "{" BASE ",\"query\":\"light\"}");
    CHECK(v1_number(a.json, "resultsCount") == 2); /* the labels of 5 and 7 */
    CHECK(cJSON_IsTrue(v1_at(a.json, "results.0.isLabel")));
    CHECK(v1_size(a.json, "results.0.neuron.activations") <= 3);
    v1_free(&a);
    a = v1_post(&v, "/api/explanation/search",
                "{" BASE ",\"layers\":[\"3-gemmascope-res-2k\"],\"query\":\"light\"}");
    CHECK(v1_number(a.json, "resultsCount") == 0);
    v1_free(&a);
    a = v1_post(&v, "/api/explanation/search-all", "{\"query\":\"evening\"}");
    CHECK(v1_number(a.json, "resultsCount") == 1);
    v1_free(&a);
    v1_close(&v);
}

static void a_search_gives_twenty_a_page(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    for (int i = 0; i < 45; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "e%d", i);
        REQUIRE(put(&v, id, i, "a meadow"));
    }
    struct v1_answer a =
        v1_post(&v, "/api/explanation/search-model", "{" BASE ",\"query\":\"meadow\"}");
    CHECK(v1_number(a.json, "resultsCount") == 20);
    CHECK(v1_number(a.json, "nextOffset") == 20);
    CHECK(cJSON_IsTrue(v1_at(a.json, "hasMore")));
    v1_free(&a);
    a = v1_post(&v, "/api/explanation/search-model",
                "{" BASE ",\"query\":\"meadow\",\"offset\":40}");
    CHECK(v1_number(a.json, "resultsCount") == 5);
    CHECK(cJSON_IsFalse(v1_at(a.json, "hasMore")));
    CHECK(v1_number(a.json, "total") == 45);
    v1_free(&a);
    v1_close(&v);
}

static void a_search_names_what_is_wrong(void)
{
    static const struct v1_bad bad[] = {
        {"{" BASE ",\"layers\":[],\"query\":\"ab\"}", 400, "at least 3"},
        {"{" BASE ",\"layers\":[]}", 422, "query"},
        {"{" BASE ",\"query\":\"abc\"}", 422, "layers"},
        {"{" BASE ",\"layers\":[5],\"query\":\"abc\"}", 422, "layers[0]"},
        {"{" BASE ",\"layers\":[],\"query\":\"abc\",\"offset\":-1}", 400, "offset"},
        {"{\"modelId\":\"x\",\"layers\":[],\"query\":\"abc\"}", 404, "\"x\""},
        {"{\"layers\":[],\"query\":\"abc\"}", 422, "model_id"},
    };
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, "/api/explanation/search", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(an_explanation_is_added_changed_and_removed),
    TEST(imported_ones_stay_as_they_came),
    TEST(words_find_explanations_and_labels),
    TEST(a_search_gives_twenty_a_page),
    TEST(a_search_names_what_is_wrong),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
