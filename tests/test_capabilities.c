#include "tests/oracle.h"
#include "tests/v1.h"

static struct v1_answer get(struct v1 *v, const char *path)
{
    struct v1_answer a = {0};
    struct exchange *x = exchange_run(&v->router, "GET", path, NULL, NULL, 0);
    if (x) {
        a.status = x->response.status;
        a.text = memory_string_n(x->response.body.data ? x->response.body.data : "",
                                 x->response.body.length);
        a.json = cJSON_Parse(a.text);
        exchange_close(x);
    }
    return a;
}

static const cJSON *detail(const cJSON *root, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, json_get(root, "source_details"))
    {
        if (strcmp(v1_string(item, "name"), name) == 0) {
            return item;
        }
    }
    return NULL;
}

/* Every source of the oracle with its layer, site, sizes and kind. */
static void lists_every_source_with_its_traits(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[f]));
        REQUIRE(v1_open(&v, o.folder));
        struct v1_answer a = get(&v, "/v1/capabilities");
        const cJSON *sources = json_get(o.lenses, "sources");
        CHECK(a.status == 200);
        cJSON_DeleteItemFromObject(a.json, "endpoints"); /* its keys are the names of routes */
        CHECK(v1_both_spellings(a.json) == 0);
        CHECK_STRING(v1_string(a.json, "model"), oracle_names[f]);
        CHECK(v1_size(a.json, "sources") == cJSON_GetArraySize(sources));
        CHECK(v1_size(a.json, "source_details") == cJSON_GetArraySize(sources));
        CHECK(v1_size(a.json, "sources_left_out") == 0);
        const cJSON *want, *name;
        cJSON_ArrayForEach(want, sources)
        {
            const cJSON *found = detail(a.json, v1_string(want, "name"));
            bool listed = false;
            cJSON_ArrayForEach(name, json_get(a.json, "sources"))
            {
                listed = listed || strcmp(name->valuestring, v1_string(want, "name")) == 0;
            }
            REQUIRE(found && listed);
            CHECK(v1_number(found, "layer") == v1_number(want, "layer"));
            static const char *const numbers[] = {"d_in", "d_out", "d_sae"};
            for (int i = 0; i < 3; i++) {
                CHECK(v1_number(found, numbers[i]) == v1_number(want, numbers[i]));
            }
            CHECK_STRING(v1_string(found, "architecture"), v1_string(want, "architecture"));
        }
        v1_free(&a);
        v1_close(&v);
        oracle_close(&o);
    }
}

static void tells_the_truth_about_what_is_served(void)
{
    static const struct {
        const char *name;
        bool served;
    } endpoints[] = {{"tokenize", true},
                     {"activation_single", true},
                     {"activation_all", true},
                     {"activation_source", true},
                     {"activation_raw", true},
                     {"activation_topk_by_token", true},
                     {"activation_attention", true},
                     {"trace", true},
                     {"dark_matter", true},
                     {"dfa", false},
                     {"attribution", true},
                     {"lens_logit", true},
                     {"lens_jacobian", false},
                     {"neurons", true}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = get(&v, "/v1/capabilities");
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        const cJSON *found =
            cJSON_GetObjectItemCaseSensitive(json_get(a.json, "endpoints"), endpoints[i].name);
        CHECK(cJSON_IsBool(found) && cJSON_IsTrue(found) == endpoints[i].served);
    }
    v1_free(&a);
    /* the answer follows the table */
    v.app.n_routes = 1;
    a = get(&v, "/v1/capabilities");
    CHECK(cJSON_IsTrue(v1_at(a.json, "endpoints.tokenize")));
    CHECK(cJSON_IsFalse(v1_at(a.json, "endpoints.trace")));
    v1_free(&a);
    v1_close(&v);
}

/* Two names a layer would fill the lists of clients that show every source. */
static void lists_neurons_only_where_asked(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = get(&v, "/v1/capabilities"), b = get(&v, "/v1/capabilities?neurons=true");
    CHECK(v1_size(a.json, "sources") == 4 && v1_size(a.json, "neuron_sets") == 2);
    CHECK_STRING(v1_string(a.json, "neuron_sets.0.name"), "{layer}");
    CHECK(v1_number(a.json, "neuron_sets.0.d_sae") == 1024);
    CHECK_STRING(v1_string(a.json, "neuron_sets.1.source_set"), "mlp_out");
    CHECK(v1_size(b.json, "sources") == 14 && v1_size(b.json, "source_details") == 14);
    CHECK(v1_size(b.json, "sae_sets") == 5);
    CHECK(detail(a.json, "3") == NULL);
    CHECK_STRING(v1_string(detail(b.json, "3"), "hook_name"), "blocks.3.mlp.hook_post");
    CHECK_STRING(v1_string(detail(b.json, "3-mlp_out"), "architecture"), "none");
    v1_free(&a);
    v1_free(&b);
    v1_close(&v);
}

static void says_the_model_s_sizes_and_the_limits(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v.app.token_limit = 77;
    struct v1_answer a = get(&v, "/v1/capabilities");
    const struct gemma_config *c = engine_config(v.app.engine);
    CHECK_STRING(v1_string(a.json, "model"), "gemma-2-demo");
    CHECK_STRING(v1_string(a.json, "version"), APP_VERSION);
    CHECK_STRING(v1_string(a.json, "device"), "cpu");
    CHECK(v1_number(a.json, "num_layers") == (double)c->n_layers && c->n_layers == 5);
    CHECK(v1_number(a.json, "hiddenSize") == (double)c->hidden_size);
    CHECK(v1_number(a.json, "vocab_size") == (double)c->vocab_size);
    CHECK(v1_number(a.json, "max_tokens") == (double)c->max_positions);
    CHECK(v1_number(a.json, "token_limit") == 77);
    CHECK(v1_number(a.json, "lens_token_limit") == 77);
    CHECK(cJSON_IsTrue(v1_at(a.json, "has_tokenizer")));
    CHECK(v1_size(a.json, "sources") == 4 && v1_size(a.json, "sae_sets") == 3); /* res twice */
    CHECK(cJSON_Compare(v1_at(a.json, "saeSets"), v1_at(a.json, "sae_sets"), true));
    v1_free(&a);
    v1_close(&v);
    REQUIRE(v1_open(&v, V1_ORACLE "/gemma3-nano-bf16"));
    a = get(&v, "/v1/capabilities");
    CHECK(cJSON_IsFalse(v1_at(a.json, "has_tokenizer")));
    v1_free(&a);
    v1_close(&v);
}

/* The other fixture's SAEs do not fit: each is named with the reason. */
static void names_what_was_left_out_and_why(void)
{
    struct v1 v;
    struct status st = {0};
    static const char *const folders[] = {V1_ORACLE "/gemma3-nano-4b-style/saes"};
    struct engine_options options = {.model = V1_ORACLE "/gemma2-nano-bf16",
                                     .sae_folders = folders,
                                     .n_sae_folders = 1,
                                     .threads = 1};
    REQUIRE(v1_open(&v, V1_ORACLE "/gemma2-nano-bf16"));
    struct engine *own = v.app.engine, *other;
    REQUIRE_OK(engine_open(&other, &options, &st), st);
    v.app.engine = other;
    struct v1_answer a = get(&v, "/v1/capabilities");
    v.app.engine = own;
    CHECK(v1_size(a.json, "sources") == 0 && v1_size(a.json, "sources_left_out") >= 5);
    CHECK_CONTAINS(v1_string(a.json, "sources_left_out.0.path"), "gemma3-nano-4b-style/saes");
    CHECK(strlen(v1_string(a.json, "sourcesLeftOut.0.reason")) > 20);
    v1_free(&a);
    engine_close(other);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(lists_every_source_with_its_traits), TEST(tells_the_truth_about_what_is_served),
    TEST(lists_neurons_only_where_asked),     TEST(says_the_model_s_sizes_and_the_limits),
    TEST(names_what_was_left_out_and_why),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
