#include "core/sae/sae_config.h"

#include "tests/test.h"

#define HOOK "\"hook_name\": \"blocks.7.hook_resid_post\""

static int saelens(struct sae_config *config, const char *json, struct status *st)
{
    return sae_config_saelens(config, json, strlen(json), "cfg.json", st);
}

static int scope2(struct sae_config *config, const char *json, struct status *st)
{
    return sae_config_scope2(config, json, strlen(json), "config.json", st);
}

static void reads_version_6(void)
{
    struct sae_config c;
    struct status st = {0};
    REQUIRE_OK(
        saelens(&c,
                "{\"d_in\": 48, \"d_sae\": 64, \"architecture\": \"jumprelu\", "
                "\"apply_b_dec_to_input\": false, \"normalize_activations\": \"layer_norm\", "
                "\"metadata\": {\"hook_name\": \"blocks.2.attn.hook_z\", "
                "\"hook_head_index\": null, \"neuronpedia_id\": \"m/2-x-64\"}}",
                &st),
        st);
    CHECK(c.architecture == SAE_JUMPRELU && c.norm == SAE_NORM_LAYER);
    CHECK(c.input == POINT_Z && c.output == POINT_Z && c.layer == 2);
    CHECK(!c.is_transcoder && !c.subtracts_b_dec && !c.has_skip);
    CHECK(c.d_in == 48 && c.d_sae == 64 && c.d_out == 0);
    CHECK_STRING(c.neuronpedia_source, "2-x-64");
}

static void applies_the_defaults_of_older_versions(void)
{
    struct sae_config c;
    struct status st = {0};
    REQUIRE_OK(saelens(&c, "{\"hook_point\": \"blocks.7.hook_resid_pre\"}", &st), st);
    CHECK(c.architecture == SAE_STANDARD && c.norm == SAE_NORM_NONE && c.subtracts_b_dec);
    CHECK(c.input == POINT_RESID_PRE && c.layer == 7);
    REQUIRE_OK(
        saelens(&c,
                "{\"architecture\": \"standard\", \"activation_fn_str\": \"topk\", "
                "\"activation_fn_kwargs\": {\"k\": 5}, \"normalize_activations\": false, " HOOK "}",
                &st),
        st);
    CHECK(c.architecture == SAE_TOPK && c.k == 5 && c.norm == SAE_NORM_NONE);
}

static void reads_transcoders(void)
{
    struct sae_config c;
    struct status st = {0};
    REQUIRE_OK(saelens(&c,
                       "{\"architecture\": \"jumprelu_skip_transcoder\", \"d_out\": 9, "
                       "\"apply_b_dec_to_input\": true, "
                       "\"hook_name\": \"blocks.3.ln2.hook_normalized\", "
                       "\"hook_name_out\": \"blocks.3.hook_mlp_out\"}",
                       &st),
               st);
    CHECK(c.is_transcoder && c.has_skip && !c.subtracts_b_dec && c.d_out == 9);
    CHECK(c.architecture == SAE_JUMPRELU);
    CHECK(c.input == POINT_MLP_IN_PREGAIN && c.output == POINT_MLP_OUT && c.layer == 3);
}

static void knows_the_hooks_both_ways(void)
{
    static const char *const names[] = {"hook_embed",
                                        "blocks.0.hook_resid_pre",
                                        "blocks.1.hook_resid_mid",
                                        "blocks.255.hook_resid_post",
                                        "blocks.3.hook_mlp_out",
                                        "blocks.4.hook_attn_out",
                                        "blocks.5.attn.hook_z",
                                        "blocks.6.mlp.hook_post",
                                        "blocks.7.ln2.hook_normalized",
                                        "blocks.8.hook_mlp_in"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        enum point point;
        int layer;
        char buffer[80];
        CHECK(sae_config_find_hook(names[i], &point, &layer));
        CHECK_STRING(sae_config_hook(point, layer, buffer, sizeof buffer), names[i]);
    }
    enum point point;
    int layer;
    CHECK(!sae_config_find_hook("blocks.256.hook_resid_post", &point, &layer));
    CHECK(!sae_config_find_hook("blocks.99999999999999999999.hook_mlp_out", &point, &layer));
    CHECK(!sae_config_find_hook("blocks..hook_resid_post", &point, &layer));
    CHECK(!sae_config_find_hook("blocks.1", &point, &layer));
    CHECK(!sae_config_find_hook("blocks.-1.hook_resid_post", &point, &layer));
    CHECK(!sae_config_find_hook("", &point, &layer));
}

static void says_why_a_kind_is_refused(void)
{
    static const struct {
        const char *json, *words;
        enum status_code code;
    } cases[] = {
        {"{\"architecture\": \"temporal\", " HOOK "}", "\"temporal\"", STATUS_UNSUPPORTED},
        {"{\"architecture\": \"crosscoder\", " HOOK "}", "\"crosscoder\"", STATUS_UNSUPPORTED},
        {"{\"activation_fn\": \"tanh-relu\", " HOOK "}", "\"tanh-relu\"", STATUS_UNSUPPORTED},
        {"{\"normalize_activations\": true, " HOOK "}", "fold it", STATUS_UNSUPPORTED},
        {"{\"normalize_activations\": \"expected_average_only_in\", " HOOK "}", "fold it",
         STATUS_UNSUPPORTED},
        {"{\"normalize_activations\": \"odd\", " HOOK "}", "\"odd\"", STATUS_UNSUPPORTED},
        {"{\"normalize_activations\": 3, " HOOK "}", "normalize_activations", STATUS_INVALID},
        {"{\"architecture\": \"topk\", " HOOK "}", "without \"k\"", STATUS_INVALID},
        {"{\"architecture\": \"topk\", \"k\": 1.5, " HOOK "}", "\"k\"", STATUS_INVALID},
        {"{\"d_in\": -1, " HOOK "}", "\"d_in\"", STATUS_INVALID},
        {"{\"apply_b_dec_to_input\": 1, " HOOK "}", "apply_b_dec_to_input", STATUS_INVALID},
        {"{\"hook_head_index\": 2, " HOOK "}", "one head", STATUS_UNSUPPORTED},
        {"{\"reshape_activations\": \"other\", " HOOK "}", "\"other\"", STATUS_UNSUPPORTED},
        {"{\"hook_name\": \"blocks.1.attn.hook_q\"}", "blocks.1.attn.hook_q", STATUS_UNSUPPORTED},
        {"{}", "hook_name", STATUS_INVALID},
        {"[]", "not an object", STATUS_INVALID},
        {"{", "cfg.json", STATUS_INVALID},
        {"{\"architecture\": \"transcoder\", \"hook_name\": \"blocks.1.hook_mlp_in\", "
         "\"hook_name_out\": \"blocks.2.hook_mlp_out\"}",
         "the same layer", STATUS_UNSUPPORTED},
        {"{\"architecture\": \"transcoder\", \"normalize_activations\": \"layer_norm\", " HOOK "}",
         "for a transcoder", STATUS_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sae_config c;
        struct status st = {0};
        CHECK(saelens(&c, cases[i].json, &st) == (int)cases[i].code);
        CHECK_CONTAINS(st.message, cases[i].words);
        CHECK_CONTAINS(st.message, "cfg.json: ");
    }
}

#define HOOKS(in, out) \
    "\"hf_hook_point_in\": \"model.layers." in "\", \"hf_hook_point_out\": \"model.layers." out "\""
#define RESID HOOKS("4.output", "4.output")

static void reads_scope_2(void)
{
    struct sae_config c;
    struct status st = {0};
    REQUIRE_OK(
        scope2(&c,
               "{\"type\": \"transcoder\", \"architecture\": \"jump_relu\", \"width\": 112, "
               "\"l0\": 20, \"affine_connection\": true, " HOOKS(
                   "4.pre_feedforward_layernorm.output", "4.post_feedforward_layernorm.output") "}",
               &st),
        st);
    CHECK(c.is_transcoder && c.has_skip && c.d_sae == 112 && c.layer == 4);
    CHECK(c.input == POINT_MLP_IN && c.output == POINT_MLP_OUT);
    CHECK_STRING(c.l0, "20");
    REQUIRE_OK(scope2(&c,
                      "{\"hf_hook_point_in\": \"model.language_model.layers.9.self_attn.o_proj."
                      "input\", \"hf_hook_point_out\": "
                      "\"model.language_model.layers.9.self_attn.o_proj.input\"}",
                      &st),
               st);
    CHECK(c.input == POINT_Z && c.layer == 9 && !c.is_transcoder);
}

static void says_why_a_scope_2_file_is_refused(void)
{
    static const char *const cases[][2] = {
        {"{\"type\": \"clt\", " RESID "}", "several layers"},
        {"{\"type\": \"crosscoder\"}", "several layers"},
        {"{\"type\": \"other\", " RESID "}", "\"other\""},
        {"{\"architecture\": \"topk\", " RESID "}", "\"topk\""},
        {"{\"type\": \"sae\"}", "hf_hook_point_in"},
        {"{" HOOKS("4.output", "5.output") "}", "reads layer 4 and writes layer 5"},
        {"{" HOOKS("4.mlp.input", "4.output") "}", "model.layers.4.mlp.input"},
        {"{" HOOKS("4.output", "4.post_feedforward_layernorm.output") "}", "does not go with"},
        {"{\"type\": \"transcoder\", " RESID "}", "does not go with"},
        {"{\"width\": 0, " RESID "}", "\"width\""},
        {"3", "not an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sae_config c;
        struct status st = {0};
        CHECK(scope2(&c, cases[i][0], &st) != 0);
        CHECK_CONTAINS(st.message, cases[i][1]);
    }
}

static const struct test tests[] = {
    TEST(reads_version_6),
    TEST(applies_the_defaults_of_older_versions),
    TEST(reads_transcoders),
    TEST(knows_the_hooks_both_ways),
    TEST(says_why_a_kind_is_refused),
    TEST(reads_scope_2),
    TEST(says_why_a_scope_2_file_is_refused),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
