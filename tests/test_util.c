/* POST /v1/util/sae-vector and /v1/util/sae-topk-by-decoder-cossim. */
#include "tests/oracle.h"
#include "tests/v1.h"

#define VECTOR "/v1/util/sae-vector"
#define COSSIM "/v1/util/sae-topk-by-decoder-cossim"
#define SOURCE "\"source\":\"2-gemmascope-res-160\""
#define NANO2 V1_ORACLE "/gemma2-nano-bf16"

static void gives_the_encoder_column_and_where_it_reads(void)
{
    struct v1 v;
    struct status st = {0};
    REQUIRE(v1_open(&v, NANO2));
    float *column;
    size_t n;
    REQUIRE_OK(engine_encoder_vector(v.app.engine, "2-gemmascope-att-160", 45, &column, &n, &st),
               st);
    static const char *const indexes[] = {"45", "\"45\"", "45.0"}; /* as clients spell it */
    for (int k = 0; k < 3; k++) {
        char body[120];
        snprintf(body, sizeof body, "{\"source\":\"2-gemmascope-att-160\",\"index\":%s}",
                 indexes[k]);
        struct v1_answer a = v1_post(&v, VECTOR, body);
        CHECK(a.status == 200 && v1_size(a.json, "vector") == 64 && n == 64);
        for (size_t i = 0; i < n; i++) {
            char at[32];
            snprintf(at, sizeof at, "vector.%zu", i);
            CHECK((float)v1_number(a.json, at) == column[i]);
        }
        CHECK_STRING(v1_string(a.json, "hook_name"), "blocks.2.attn.hook_z");
        CHECK_STRING(v1_string(a.json, "hookName"), "blocks.2.attn.hook_z");
        v1_free(&a);
    }
    memory_free(column);
    v1_close(&v);
}

/* The oracle's lists, for each of its features, in the source itself and in two others. */
static void finds_the_oracle_s_neighbours(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[f]));
        REQUIRE(v1_open(&v, o.folder));
        const cJSON *names = json_get(o.lenses, "names");
        const char *res = cJSON_GetStringValue(json_get(names, "res"));
        static const char *const words[] = {"res", "res2", "mlp"};
        for (int w = 0; w < 3; w++) {
            const char *target = cJSON_GetStringValue(json_get(names, words[w]));
            const struct tensor *ids = oracle_array(&o, "neighbours.res_%s.ids", words[w]);
            const struct tensor *values = oracle_array(&o, "neighbours.res_%s.values", words[w]);
            REQUIRE(ids && values && target);
            for (size_t i = 0; i < 5; i++) {
                char body[200], at[96];
                int index =
                    cJSON_GetArrayItem(json_get(o.lenses, "neighbour_features"), (int)i)->valueint;
                snprintf(body, sizeof body,
                         "{\"feature\":{\"model\":\"m\",\"source\":\"%s\",\"index\":%d},"
                         "\"source\":\"%s\",\"num_results\":10}",
                         res, index, target);
                struct v1_answer a = v1_post(&v, COSSIM, body);
                CHECK(a.status == 200 && v1_size(a.json, "topk_decoder_cossim_features") == 10);
                CHECK_STRING(v1_string(a.json, "feature.source"), res);
                CHECK((int)v1_number(a.json, "feature.index") == index);
                CHECK(v1_both_spellings(a.json) == 0);
                for (size_t k = 0; k < 10; k++) {
                    snprintf(at, sizeof at, "topk_decoder_cossim_features.%zu", k);
                    const cJSON *item = v1_at(a.json, at);
                    CHECK((int)v1_number(item, "feature.index") == oracle_int(ids, i * 10 + k));
                    CHECK_STRING(v1_string(item, "feature.source"), target);
                    CHECK_STRING(v1_string(item, "feature.model"), engine_model_id(v.app.engine));
                    CHECK_NEAR(v1_number(item, "cosine_similarity"), tensor_get(values, i * 10 + k),
                               2e-4);
                }
                v1_free(&a);
            }
        }
        v1_close(&v);
        oracle_close(&o);
    }
}

/* A feature's own decoder row, sent as a vector, finds what the feature finds. */
static void takes_a_vector_instead_of_a_feature(void)
{
    struct v1 v;
    struct status st = {0};
    float *row;
    size_t n;
    struct text body = {0};
    REQUIRE(v1_open(&v, NANO2));
    REQUIRE_OK(engine_decoder_vector(v.app.engine, "2-gemmascope-res-160", 45, &row, &n, &st), st);
    text_string(&body, "{\"vector\":[");
    for (size_t i = 0; i < n; i++) {
        text_printf(&body, "%s%.9g", i ? "," : "", (double)row[i]);
    }
    text_string(&body, "]," SOURCE ",\"numResults\":7}");
    struct v1_answer a = v1_post(&v, COSSIM, body.data);
    struct v1_answer b = v1_post(
        &v, COSSIM, "{\"feature\":{" SOURCE ",\"index\":\"45\"}," SOURCE ",\"numResults\":7}");
    CHECK(a.status == 200 && b.status == 200);
    CHECK(cJSON_IsNull(v1_at(a.json, "feature")) && v1_at(a.json, "feature"));
    CHECK(v1_size(a.json, "topkDecoderCossimFeatures") == 7);
    CHECK(cJSON_Compare(v1_at(a.json, "topk_decoder_cossim_features"),
                        v1_at(b.json, "topk_decoder_cossim_features"), true));
    v1_free(&a);
    v1_free(&b);
    text_free(&body);
    memory_free(row);
    v1_close(&v);
}

static void gives_at_most_128_neighbours(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    static const struct {
        const char *asked;
        int given;
    } cases[] = {{"1", 1}, {"128", 128}, {"129", 128}, {"100000", 128}};
    for (int i = 0; i < 4; i++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"feature\":{" SOURCE ",\"index\":1}," SOURCE ",\"num_results\":%s}",
                 cases[i].asked);
        struct v1_answer a = v1_post(&v, COSSIM, body);
        CHECK(a.status == 200);
        CHECK(v1_size(a.json, "topk_decoder_cossim_features") == cases[i].given);
        v1_free(&a);
    }
    v1_close(&v);
}

static void refuses_what_it_does_not_have(void)
{
    static const struct v1_bad vector[] = {
        {"{\"index\":1}", 422, "source"},
        {"{\"source\":5,\"index\":1}", 422, "source"},
        {"{\"source\":\"x\",\"index\":1}", 404, "\"x\""},
        {"{" SOURCE "}", 422, "index"},
        {"{" SOURCE ",\"index\":160}", 400, "0 to 159"},
        {"{" SOURCE ",\"index\":\"-1\"}", 400, "index"},
        {"{" SOURCE ",\"index\":\"one\"}", 400, "index"},
        {"{" SOURCE ",\"index\":[1]}", 422, "index"},
        {"{" SOURCE ",\"index\":1,\"model\":7}", 422, "model"},
        {"[]", 400, "object"},
        {"{", 400, "body"},
    };
    static const struct v1_bad cossim[] = {
        {"{\"feature\":{" SOURCE ",\"index\":1},\"num_results\":1}", 422, "source"},
        {"{\"feature\":{" SOURCE ",\"index\":1}," SOURCE "}", 422, "num_results"},
        {"{\"feature\":{" SOURCE ",\"index\":1}," SOURCE ",\"num_results\":0}", 400, "num_results"},
        {"{" SOURCE ",\"num_results\":1}", 400, "exactly one of feature or vector"},
        {"{\"feature\":{" SOURCE ",\"index\":1},\"vector\":[1]," SOURCE ",\"num_results\":1}", 400,
         "exactly one of feature or vector"},
        {"{\"feature\":\"x\"," SOURCE ",\"num_results\":1}", 422, "feature"},
        {"{\"feature\":{\"index\":1}," SOURCE ",\"num_results\":1}", 422, "feature: source"},
        {"{\"feature\":{\"source\":\"x\",\"index\":1}," SOURCE ",\"num_results\":1}", 404,
         "feature: source"},
        {"{\"feature\":{" SOURCE ",\"index\":160}," SOURCE ",\"num_results\":1}", 400,
         "feature: index"},
        {"{\"feature\":{" SOURCE ",\"index\":1},\"source\":\"2-gemmascope-att-160\","
         "\"num_results\":1}",
         400, "expected 64 numbers"},
        {"{\"vector\":[1,2]," SOURCE ",\"num_results\":1}", 400, "found 2"},
        {"{\"vector\":[1,\"2\"]," SOURCE ",\"num_results\":1}", 422, "vector[1]"},
        {"{\"vector\":3," SOURCE ",\"num_results\":1}", 422, "vector"},
        {"{\"vector\":[1],\"source\":\"x\",\"num_results\":1}", 404, "\"x\""},
    };
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    v1_refuses(&v, VECTOR, vector, TEST_COUNT(vector));
    v1_refuses(&v, COSSIM, cossim, TEST_COUNT(cossim));
    v1_close(&v);
}

static void a_zero_vector_has_no_neighbours(void)
{
    struct v1 v;
    struct text body = {0};
    REQUIRE(v1_open(&v, NANO2));
    text_string(&body, "{\"vector\":[0");
    for (int i = 1; i < 48; i++) {
        text_string(&body, ",0");
    }
    text_string(&body, "]," SOURCE ",\"num_results\":3}");
    struct v1_answer a = v1_post(&v, COSSIM, body.data);
    CHECK(a.status == 200 && v1_size(a.json, "topk_decoder_cossim_features") == 0);
    v1_free(&a);
    text_free(&body);
    v1_close(&v);
}

static void survives_every_failed_allocation(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    static const char *const requests[][2] = {
        {VECTOR, "{" SOURCE ",\"index\":3}"},
        {COSSIM, "{\"feature\":{" SOURCE ",\"index\":3}," SOURCE ",\"num_results\":3}"}};
    for (int r = 0; r < 2; r++) {
        int failed = 0, status = 0;
        for (long i = 1; status != 200 && i < 500; i++) {
            memory_fail_after(i);
            struct v1_answer a = v1_post(&v, requests[r][0], requests[r][1]);
            memory_fail_after(0);
            status = a.text ? a.status : 0;
            CHECK(status == 0 || status == 200 || status == 500);
            failed += status == 500;
            v1_free(&a);
        }
        CHECK(status == 200 && failed >= 3);
    }
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(gives_the_encoder_column_and_where_it_reads),
    TEST(finds_the_oracle_s_neighbours),
    TEST(takes_a_vector_instead_of_a_feature),
    TEST(gives_at_most_128_neighbours),
    TEST(refuses_what_it_does_not_have),
    TEST(a_zero_vector_has_no_neighbours),
    TEST(survives_every_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
