#include "core/gemma/config.h"
#include "tests/test.h"

static int parse(struct gemma_config *c, const char *json, struct status *st)
{
    status_clear(st);
    return config_parse(c, json, strlen(json), "config.json", st);
}

static void fills_in_the_defaults_of_gemma_2(void)
{
    struct gemma_config c;
    struct status st = {0};
    REQUIRE_OK(parse(&c, "{\"model_type\": \"gemma2\"}", &st), st);
    CHECK(c.family == 2 && c.vocab_size == 256000 && c.hidden_size == 2304 && c.n_layers == 26);
    CHECK(c.n_heads == 8 && c.n_kv_heads == 4 && c.head_dim == 256 && c.sliding_window == 4096);
    CHECK_NEAR(c.attention_scale, 1.0 / 16, 0);
    CHECK_NEAR(c.attention_softcap, 50, 0);
    CHECK_NEAR(c.final_softcap, 30, 0);
    CHECK(c.local[0] && !c.local[1] && c.local[2] && c.tied_embeddings);
    CHECK(c.bos_id == 2 && c.pad_id == 0 && c.n_eos == 1 && c.eos_ids[0] == 1);
}

static void fills_in_the_defaults_of_nested_gemma_3(void)
{
    struct gemma_config c;
    struct status st = {0};
    REQUIRE_OK(parse(&c,
                     "{\"model_type\": \"gemma3\", \"eos_token_id\": [1, 106], \"text_config\": "
                     "{\"model_type\": \"gemma3_text\", \"hidden_size\": 2560, \"rope_scaling\": "
                     "{\"factor\": 8.0, \"rope_type\": \"linear\"}, \"sliding_window\": 1024}}",
                     &st),
               st);
    CHECK(c.family == 3 && c.is_multimodal && c.vocab_size == 262208 && c.max_positions == 131072);
    CHECK(c.n_eos == 2 && c.eos_ids[1] == 106);
    CHECK(c.local[4] && !c.local[5] && c.local[6] && !c.local[11]);
    CHECK_NEAR(c.rope_theta[0], 1e6, 0);
    CHECK_NEAR(c.rope_theta[1], 1e4, 0);
    CHECK_NEAR(c.rope_factor[0], 8, 0);
    CHECK_NEAR(c.rope_factor[1], 1, 0);
    CHECK_NEAR(c.attention_softcap, 0, 0);
    CHECK_NEAR(c.final_softcap, 0, 0);
}

static void reads_the_spelling_of_transformers_5(void)
{
    struct gemma_config c;
    struct status st = {0};
    REQUIRE_OK(
        parse(&c,
              "{\"model_type\": \"gemma3_text\", \"num_hidden_layers\": 3, \"layer_types\": "
              "[\"full_attention\", \"sliding_attention\", \"full_attention\"], "
              "\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 5e5, \"rope_type\": "
              "\"linear\", \"factor\": 4}, \"sliding_attention\": {\"rope_theta\": 2e4, "
              "\"rope_type\": \"default\"}}}",
              &st),
        st);
    CHECK(!c.local[0] && c.local[1] && !c.local[2]);
    CHECK_NEAR(c.rope_theta[0], 5e5, 0);
    CHECK_NEAR(c.rope_factor[0], 4, 0);
    CHECK_NEAR(c.rope_theta[1], 2e4, 0);
    REQUIRE_OK(parse(&c,
                     "{\"model_type\": \"gemma2\", \"rope_parameters\": {\"rope_theta\": 12345.0, "
                     "\"rope_type\": \"default\"}}",
                     &st),
               st);
    CHECK_NEAR(c.rope_theta[0], 12345, 0);
    CHECK_NEAR(c.rope_theta[1], 12345, 0);
}

static void a_softcap_of_null_is_none(void)
{
    struct gemma_config c;
    struct status st = {0};
    REQUIRE_OK(parse(&c, "{\"model_type\": \"gemma2\", \"attn_logit_softcapping\": null}", &st),
               st);
    CHECK_NEAR(c.attention_softcap, 0, 0);
    CHECK_NEAR(c.final_softcap, 30, 0);
}

static void uses_256_where_an_old_9b_says_224(void)
{
    struct gemma_config c;
    struct status st = {0};
    REQUIRE_OK(
        parse(&c,
              "{\"model_type\": \"gemma2\", \"num_hidden_layers\": 42, \"hidden_size\": 3584, "
              "\"query_pre_attn_scalar\": 224}",
              &st),
        st);
    CHECK_NEAR(c.attention_scale, 1.0 / 16, 0);
    CHECK_CONTAINS(c.note, "224");
    REQUIRE_OK(parse(&c, "{\"model_type\": \"gemma2\", \"query_pre_attn_scalar\": 144}", &st), st);
    CHECK_NEAR(c.attention_scale, 1.0 / 12, 1e-8);
    CHECK_STRING(c.note, "");
}

static void refuses_what_it_cannot_run(void)
{
    static const struct {
        const char *json, *field, *found;
    } cases[] = {
        {"{\"model_type\": \"llama\"}", "model_type", "\"llama\""},
        {"{}", "model_type", "nothing"},
        {"[]", "JSON object", "config.json"},
        {"{\"model_type\": \"gemma2\", \"hidden_size\": -5}", "hidden_size", "-5"},
        {"{\"model_type\": \"gemma2\", \"hidden_size\": 1e12}", "hidden_size", "1000000000000"},
        {"{\"model_type\": \"gemma2\", \"hidden_size\": \"big\"}", "hidden_size", "big"},
        {"{\"model_type\": \"gemma2\", \"num_hidden_layers\": 0}", "num_hidden_layers", "0"},
        {"{\"model_type\": \"gemma2\", \"num_hidden_layers\": 2.5}", "num_hidden_layers", "2.5"},
        {"{\"model_type\": \"gemma2\", \"num_key_value_heads\": 3}", "num_key_value_heads", "3"},
        {"{\"model_type\": \"gemma2\", \"head_dim\": 7}", "head_dim", "7"},
        {"{\"model_type\": \"gemma2\", \"rms_norm_eps\": 0}", "rms_norm_eps", "0"},
        {"{\"model_type\": \"gemma2\", \"hidden_activation\": \"gelu\"}", "hidden_activation",
         "gelu"},
        {"{\"model_type\": \"gemma2\", \"attention_bias\": true}", "attention_bias", "true"},
        {"{\"model_type\": \"gemma3_text\", \"use_bidirectional_attention\": true}",
         "bidirectional", "true"},
        {"{\"model_type\": \"gemma3_text\", \"rope_scaling\": {\"rope_type\": \"yarn\"}}",
         "rope_scaling", "yarn"},
        {"{\"model_type\": \"gemma2\", \"layer_types\": [\"full_attention\"]}", "layer_types",
         "full"},
        {"{\"model_type\": \"gemma2\", \"eos_token_id\": [1, \"x\"]}", "eos_token_id", "x"},
        {"{\"model_type\": \"gemma2\", \"bos_token_id\": -2}", "bos_token_id", "-2"},
        {"{\"model_type\": \"gemma2\"", "not valid JSON", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gemma_config c;
        struct status st = {0};
        CHECK(parse(&c, cases[i].json, &st) != 0);
        CHECK_CONTAINS(st.message, cases[i].field);
        CHECK_CONTAINS(st.message, cases[i].found);
        CHECK_CONTAINS(st.message, "config.json");
    }
}

static const struct test tests[] = {
    TEST(fills_in_the_defaults_of_gemma_2),     TEST(fills_in_the_defaults_of_nested_gemma_3),
    TEST(reads_the_spelling_of_transformers_5), TEST(a_softcap_of_null_is_none),
    TEST(uses_256_where_an_old_9b_says_224),    TEST(refuses_what_it_cannot_run),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
