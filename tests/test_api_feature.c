#include "tests/api.h"

#define FEATURE "/api/feature/" API_MODEL "/" API_SOURCE

static void a_feature_has_every_column(void)
{
    static const char *const keys[] = {"modelId",
                                       "layer",
                                       "index",
                                       "sourceSetName",
                                       "creatorId",
                                       "createdAt",
                                       "maxActApprox",
                                       "hasVector",
                                       "vector",
                                       "vectorLabel",
                                       "vectorDefaultSteerStrength",
                                       "hookName",
                                       "topkCosSimIndices",
                                       "topkCosSimValues",
                                       "neuron_alignment_indices",
                                       "neuron_alignment_values",
                                       "neuron_alignment_l1",
                                       "correlated_neurons_indices",
                                       "correlated_neurons_pearson",
                                       "correlated_neurons_l1",
                                       "correlated_features_indices",
                                       "correlated_features_pearson",
                                       "correlated_features_l1",
                                       "neg_str",
                                       "neg_values",
                                       "pos_str",
                                       "pos_values",
                                       "frac_nonzero",
                                       "freq_hist_data_bar_heights",
                                       "freq_hist_data_bar_values",
                                       "logits_hist_data_bar_heights",
                                       "logits_hist_data_bar_values",
                                       "decoder_weights_dist",
                                       "umap_cluster",
                                       "umap_log_feature_sparsity",
                                       "umap_x",
                                       "umap_y",
                                       "model",
                                       "source",
                                       "sourceSet",
                                       "creator",
                                       "lists",
                                       "comments",
                                       "activations",
                                       "explanations",
                                       "indexed",
                                       "origin",
                                       "imported",
                                       "count",
                                       "label",
                                       NULL};
    static const char *const rows[] = {"id",
                                       "tokens",
                                       "dataIndex",
                                       "index",
                                       "layer",
                                       "modelId",
                                       "dataSource",
                                       "maxValue",
                                       "minValue",
                                       "maxValueTokenIndex",
                                       "values",
                                       "dfaValues",
                                       "dfaMaxValue",
                                       "zQIndices",
                                       "dfaTargetIndex",
                                       "zKIndices",
                                       "zValues",
                                       "creatorId",
                                       "createdAt",
                                       "lossValues",
                                       "binMin",
                                       "binMax",
                                       "binContains",
                                       "origin",
                                       "logitContributions",
                                       "qualifyingTokenIndex",
                                       NULL};
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a = api_get(&v, FEATURE "/5");
    CHECK(a.status == 200);
    CHECK(api_has_keys(a.json, keys));
    CHECK(api_has_keys(v1_at(a.json, "activations.0"), rows));
    CHECK_STRING(v1_string(a.json, "index"), "5");
    CHECK_STRING(v1_string(a.json, "layer"), API_SOURCE);
    CHECK_STRING(v1_string(a.json, "modelId"), API_MODEL);
    CHECK_STRING(v1_string(a.json, "sourceSetName"), "gemmascope-res-2k");
    CHECK_STRING(v1_string(a.json, "hookName"), "blocks.2.hook_resid_post");
    CHECK_STRING(v1_string(a.json, "origin"), "here");
    CHECK_STRING(v1_string(a.json, "model.id"), API_MODEL);
    CHECK_STRING(v1_string(a.json, "source.dataset"), "a corpus");
    CHECK(v1_number(a.json, "source.num_prompts") == 2);
    CHECK(v1_number(a.json, "source.num_tokens_in_prompt") == 5);
    CHECK(cJSON_IsTrue(v1_at(a.json, "indexed")));
    CHECK(cJSON_IsTrue(v1_at(a.json, "source.hasDashboards")));
    v1_free(&a);
    v1_close(&v);
}

static void numbers_are_rounded_as_neuronpedia_rounds_them(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a = api_get(&v, FEATURE "/5");
    CHECK(v1_number(a.json, "frac_nonzero") == 0.003);
    CHECK(v1_number(a.json, "maxActApprox") == 7);
    CHECK(v1_number(a.json, "count") == 3);
    CHECK(v1_number(a.json, "pos_values.0") == 1.12346);
    CHECK(v1_size(a.json, "pos_values") == 10 && v1_size(a.json, "neg_str") == 10);
    CHECK(v1_number(a.json, "neg_values.0") == -1);
    CHECK(v1_size(a.json, "freq_hist_data_bar_heights") == 50);
    CHECK(v1_number(a.json, "freq_hist_data_bar_heights.49") == 50);
    CHECK(v1_number(a.json, "freq_hist_data_bar_values.0") == 0.05);
    CHECK(v1_number(a.json, "freq_hist_data_bar_values.49") == 4.95);
    CHECK(v1_number(a.json, "logits_hist_data_bar_values.0") == -0.975);
    CHECK(v1_number(a.json, "logits_hist_data_bar_heights.0") == 100);
    v1_free(&a);
    v1_close(&v);
}

static void activations_fall_and_leave_out_the_first_bos(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a = api_get(&v, FEATURE "/5");
    CHECK(v1_size(a.json, "activations") == 3);
    CHECK(v1_number(a.json, "activations.0.maxValue") == 7);
    CHECK(v1_number(a.json, "activations.0.maxValueTokenIndex") == 1);
    CHECK(v1_number(a.json, "activations.0.qualifyingTokenIndex") == 1);
    CHECK(v1_number(a.json, "activations.0.binMin") == -1);
    CHECK(v1_number(a.json, "activations.0.binContains") == -1);
    CHECK(v1_size(a.json, "activations.0.tokens") == 4);
    CHECK(v1_size(a.json, "activations.0.values") == 4);
    CHECK(v1_number(a.json, "activations.0.values.3") == 0.1);
    /* equal maxima keep the order of parts */
    CHECK(v1_number(a.json, "activations.1.maxValue") == 3);
    CHECK(v1_number(a.json, "activations.1.binMin") == -1);
    CHECK(v1_number(a.json, "activations.2.maxValue") == 3);
    CHECK(v1_number(a.json, "activations.2.binMax") == 1.4);
    CHECK(v1_number(a.json, "activations.2.binContains") == 0.998);
    CHECK(v1_number(a.json, "activations.2.values.0") == 1.23457);
    CHECK(v1_number(a.json, "activations.2.qualifyingTokenIndex") == 0);
    CHECK_STRING(v1_string(a.json, "activations.2.dataIndex"), "0");
    CHECK_STRING(v1_string(a.json, "activations.2.dataSource"), "a corpus");
    CHECK_STRING(v1_string(a.json, "activations.2.index"), "5");
    v1_free(&a);
    v1_close(&v);
}

static void a_source_that_was_not_indexed_is_not_dead(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a = api_get(&v, "/api/feature/" API_MODEL "/3-gemmascope-res-2k/5");
    CHECK(a.status == 200);
    CHECK(cJSON_IsFalse(v1_at(a.json, "indexed")));
    CHECK(cJSON_IsNull(v1_at(a.json, "maxActApprox")));
    CHECK(cJSON_IsNull(v1_at(a.json, "origin")));
    CHECK(v1_size(a.json, "activations") == 0);
    v1_free(&a);
    a = api_get(&v, FEATURE "/9");
    CHECK(cJSON_IsTrue(v1_at(a.json, "indexed")));
    CHECK(v1_number(a.json, "maxActApprox") == 0);
    CHECK(v1_number(a.json, "count") == 0);
    v1_free(&a);
    v1_close(&v);
}

static void what_is_not_there_is_404(void)
{
    static const struct {
        const char *path, *word;
        int status;
    } cases[] = {
        {"/api/feature/gemma-2-2b/" API_SOURCE "/5", "gemma-2-2b", 404},
        {"/api/feature/" API_MODEL "/9-gemmascope-res-2k/5", "9-gemmascope-res-2k", 404},
        {"/api/feature/" API_MODEL "/5/5", "source", 404},
        {FEATURE "/2048", "2047", 404},
        {FEATURE "/-1", "index", 400},
        {FEATURE "/five", "five", 400},
        {FEATURE "/99999999999999999999", "index", 400},
        {"/api/random/nope/" API_SOURCE, "nope", 404},
        {"/api/random/" API_MODEL "/nope", "nope", 404},
        {"/api/source/" API_MODEL "/nope", "nope", 404},
        {"/api/source-set/" API_MODEL "/nope", "nope", 404},
        {"/api/source-set/nope/gemmascope-res-2k", "nope", 404},
    };
    struct v1 v;
    REQUIRE(api_open(&v));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct v1_answer a = api_get(&v, cases[i].path);
        if (a.status != cases[i].status) {
            printf("    %s: %d %s\n", cases[i].path, a.status, a.text);
        }
        CHECK(a.status == cases[i].status);
        CHECK_CONTAINS(v1_string(a.json, "error"), cases[i].word);
        v1_free(&a);
    }
    v1_close(&v);
}

static void features_keep_the_order_of_the_request(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a =
        v1_post(&v, "/api/features",
                "[{\"modelId\":\"" API_MODEL "\",\"layer\":\"" API_SOURCE "\",\"index\":9},"
                "{\"modelId\":\"" API_MODEL "\",\"layer\":\"3-gemmascope-res-2k\",\"index\":0},"
                "{\"modelId\":\"" API_MODEL "\",\"layer\":\"" API_SOURCE
                "\",\"index\":\"5\",\"maxActsToReturn\":1}]");
    CHECK(a.status == 200);
    CHECK(cJSON_GetArraySize(a.json) == 3);
    CHECK_STRING(v1_string(a.json, "0.index"), "9");
    CHECK_STRING(v1_string(a.json, "1.layer"), "3-gemmascope-res-2k");
    CHECK_STRING(v1_string(a.json, "2.index"), "5");
    CHECK(v1_size(a.json, "2.activations") == 1);
    CHECK(v1_number(a.json, "2.activations.0.maxValue") == 7);
    v1_free(&a);
    a = v1_post(&v, "/api/features", "[]");
    CHECK(a.status == 200);
    CHECK_STRING(a.text, "[]");
    v1_free(&a);
    static const struct v1_bad bad[] = {
        {"", 400, "list"},
        {"5", 400, "list"},
        {"[5]", 422, "[0]"},
        {"[{\"modelId\":\"gemma-2-demo\",\"layer\":\"2-gemmascope-res-2k\"}]", 422, "index"},
        {"[{\"modelId\":\"gemma-2-demo\",\"index\":1}]", 422, "source"},
        {"[{\"layer\":\"2-gemmascope-res-2k\",\"index\":1}]", 422, "model_id"},
        {"[{\"modelId\":\"x\",\"layer\":\"2-gemmascope-res-2k\",\"index\":1}]", 404, "[0]"},
        {"[{\"modelId\":\"gemma-2-demo\",\"layer\":\"2-gemmascope-res-2k\",\"index\":1.5}]", 422,
         "index"},
    };
    v1_refuses(&v, "/api/features", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static void an_offset_gives_25_features(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a =
        v1_post(&v, "/api/features-offset",
                "{\"modelId\":\"" API_MODEL "\",\"layer\":\"" API_SOURCE "\",\"offset\":3}");
    CHECK(cJSON_GetArraySize(a.json) == 25);
    CHECK_STRING(v1_string(a.json, "0.index"), "3");
    CHECK_STRING(v1_string(a.json, "24.index"), "27");
    v1_free(&a);
    a = v1_post(&v, "/api/features-offset",
                "{\"modelId\":\"" API_MODEL "\",\"layer\":\"" API_SOURCE "\",\"offset\":2040}");
    CHECK(cJSON_GetArraySize(a.json) == 8);
    v1_free(&a);
    a = v1_post(&v, "/api/features-offset",
                "{\"modelId\":\"" API_MODEL "\",\"layer\":\"" API_SOURCE "\",\"offset\":5000}");
    CHECK(a.status == 200 && cJSON_GetArraySize(a.json) == 0);
    v1_free(&a);
    v1_close(&v);
}

static void activations_of_a_feature_are_got_alone(void)
{
    static const struct v1_bad bad[] = {
        {"{}", 400, "model_id"},
        {"{\"modelId\":\"gemma-2-demo\",\"source\":\"2-gemmascope-res-2k\"}", 400, "index"},
        {"{\"modelId\":\"gemma-2-demo\",\"source\":\"2-gemmascope-res-2k\",\"index\":\"9\"}", 404,
         "fired on none"},
        {"{\"modelId\":\"gemma-2-demo\",\"source\":\"3-gemmascope-res-2k\",\"index\":\"9\"}", 404,
         "not been indexed"},
    };
    struct v1 v;
    REQUIRE(api_open(&v));
    struct v1_answer a =
        v1_post(&v, "/api/activation/get",
                "{\"modelId\":\"" API_MODEL "\",\"source\":\"" API_SOURCE "\",\"index\":\"5\"}");
    CHECK(a.status == 200);
    CHECK(cJSON_GetArraySize(a.json) == 3);
    CHECK(v1_number(a.json, "0.maxValue") == 7);
    v1_free(&a);
    v1_refuses(&v, "/api/activation/get", bad, sizeof bad / sizeof *bad);
    v1_close(&v);
}

static void a_random_feature_is_alive(void)
{
    struct v1 v;
    bool seen[2] = {false, false};
    REQUIRE(api_open(&v));
    for (int i = 0; i < 64; i++) {
        struct v1_answer a = api_get(&v, "/api/random/" API_MODEL "/" API_SOURCE);
        const char *index = v1_string(a.json, "index");
        CHECK(strcmp(index, "5") == 0 || strcmp(index, "7") == 0);
        seen[strcmp(index, "5") == 0] = true;
        v1_free(&a);
    }
    CHECK(seen[0] && seen[1]);
    v1_close(&v);
}

static void an_imported_dashboard_is_shown_with_its_origin(void)
{
    static const char line[] = "{\"modelId\":\"x\",\"layer\":\"x\",\"index\":5,\"maxActApprox\":42."
                               "5,\"frac_nonzero\":0.25,"
                               "\"pos_str\":[\"a\"],\"correlated_features_indices\":[1,2]}";
    struct v1 v;
    struct status st;
    REQUIRE(api_open(&v));
    struct store_imported lines[] = {
        {NULL, API_MODEL, "3-gemmascope-res-2k", 5, line},
        {NULL, API_MODEL, API_SOURCE, 5, line},
        {"one", API_MODEL, API_SOURCE, 5, "{\"id\":\"one\",\"maxValue\":1,\"tokens\":[\"a\"]}"},
        {"two", API_MODEL, API_SOURCE, 5, "{\"id\":\"two\",\"maxValue\":2,\"tokens\":[\"b\"]}"},
        {NULL, API_MODEL, "1-other-res-1k", 70, line},
    };
    REQUIRE_OK(store_put_imported(v.app.store, lines, 5, &st), st);
    struct v1_answer a = api_get(&v, "/api/feature/" API_MODEL "/3-gemmascope-res-2k/5");
    CHECK_STRING(v1_string(a.json, "origin"), "imported");
    CHECK(cJSON_IsFalse(v1_at(a.json, "indexed")));
    CHECK(v1_number(a.json, "maxActApprox") == 42.5);
    CHECK_STRING(v1_string(a.json, "layer"), "3-gemmascope-res-2k");
    CHECK_STRING(v1_string(a.json, "index"), "5");
    CHECK(v1_size(a.json, "correlated_features_indices") == 0);
    CHECK(cJSON_IsNull(v1_at(a.json, "imported")));
    v1_free(&a);
    a = api_get(&v, FEATURE "/5"); /* ours first, theirs beside it */
    CHECK_STRING(v1_string(a.json, "origin"), "here");
    CHECK(v1_number(a.json, "maxActApprox") == 7);
    CHECK(v1_number(a.json, "imported.maxActApprox") == 42.5);
    CHECK_STRING(v1_string(a.json, "imported.origin"), "imported");
    CHECK_STRING(v1_string(a.json, "imported.activations.0.id"), "two");
    CHECK_STRING(v1_string(a.json, "imported.activations.1.id"), "one");
    CHECK(v1_size(a.json, "activations") == 3);
    v1_free(&a);
    a = api_get(&v, "/api/feature/" API_MODEL "/1-other-res-1k/70"); /* no SAE of that name */
    CHECK(a.status == 200);
    CHECK(cJSON_IsNull(v1_at(a.json, "hookName")));
    v1_free(&a);
    a = api_get(&v, "/api/feature/" API_MODEL "/1-other-res-1k/71");
    CHECK(a.status == 404);
    v1_free(&a);
    v1_close(&v);
}

static void every_failing_allocation_is_a_500(void)
{
    struct v1 v;
    REQUIRE(api_open(&v));
    bool succeeded = false;
    for (long nth = 1; nth < 400 && !succeeded; nth++) {
        memory_fail_after(nth);
        struct exchange *x = exchange_run(&v.router, "GET", FEATURE "/5", NULL, NULL, 0);
        succeeded = memory_fail_after(0) < nth;
        CHECK(!x || x->response.status == (succeeded ? 200 : 500) || x->response.status == 200);
        exchange_close(x);
    }
    CHECK(succeeded);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(a_feature_has_every_column),
    TEST(numbers_are_rounded_as_neuronpedia_rounds_them),
    TEST(activations_fall_and_leave_out_the_first_bos),
    TEST(a_source_that_was_not_indexed_is_not_dead),
    TEST(what_is_not_there_is_404),
    TEST(features_keep_the_order_of_the_request),
    TEST(an_offset_gives_25_features),
    TEST(activations_of_a_feature_are_got_alone),
    TEST(a_random_feature_is_alive),
    TEST(an_imported_dashboard_is_shown_with_its_origin),
    TEST(every_failing_allocation_is_a_500),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
