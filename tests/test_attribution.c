/* POST /v1/attribution: the oracle's section c over HTTP, sums that add up at every site, and what
 * is refused. */
#include "tests/lens_replies.h"

#include <math.h>

#define PATH "/v1/attribution"

static void meets_every_array_of_the_oracle(void)
{
    static const char *const prompts[] = {"window", "seven"};
    int compared = 0;
    for (int f = 0; f < ORACLE_COUNT; f++) {
        for (int p = 0; p < 2; p++) {
            static char first[1 << 19];
            first[0] = '\0';
            for (int threads = 1; threads <= 2; threads++) {
                struct v1 v;
                struct oracle o;
                REQUIRE(oracle_open(&o, oracle_names[f]));
                REQUIRE(v1_open_threads(&v, o.folder, threads));
                char *body = attribution_body(&o, prompts[p]);
                struct v1_answer a = v1_post(&v, PATH, body);
                CHECK(a.status == 200);
                if (a.status == 200) {
                    attribution_compare_reply(&o, &v, prompts[p], a.json);
                    compared++;
                }
                if (first[0]) { /* the number of threads changes no byte */
                    CHECK_STRING(a.text, first);
                } else {
                    CHECK(a.length < sizeof first);
                    (void)snprintf(first, sizeof first, "%s", a.text);
                }
                memory_free(body);
                v1_free(&a);
                v1_close(&v);
                oracle_close(&o);
            }
        }
    }
    CHECK(compared == 16);
}

/* Of the likeliest token at every position of every fixture: the parts, capped, are the logit that
 * the model itself says. */
static void the_parts_add_up_to_the_model_s_own_logit(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[f]) && v1_open(&v, o.folder));
        struct v1_answer said = v1_ask_oracle(&v, oracle_names[f], "seven", "/v1/trace",
                                              "{\"tokens\":", ",\"read\":[\"logits\"],\"top\":1}");
        const struct gemma_config *c = engine_config(v.app.engine);
        double cap = (double)c->final_softcap;
        for (int t = 0; t < 7; t++) {
            char after[32];
            (void)snprintf(after, sizeof after, ",\"position\":%d}", t);
            struct v1_answer a =
                v1_ask_oracle(&v, oracle_names[f], "seven", PATH, "{\"tokens\":", after);
            double sum = attribution_at(a.json, "embed.0");
            for (size_t l = 0; l < c->n_layers; l++) {
                sum += attribution_at(a.json, "mlp.%zu.0", l);
                for (size_t h = 0; h < c->n_heads; h++) {
                    sum += attribution_at(a.json, "heads.%zu.%zu.0", l, h);
                }
            }
            double logit = attribution_at(said.json, "tensors.top_logits.data.%d", t);
            CHECK(attribution_at(a.json, "targets.0.id") ==
                  attribution_at(said.json, "tensors.top_ids.data.%d", t));
            CHECK_NEAR(cap > 0 ? cap * tanh(sum / cap) : sum, logit, 1e-4);
            v1_free(&a);
        }
        v1_free(&said);
        v1_close(&v);
        oracle_close(&o);
    }
}

/* What a source's parts must add up to at its site. */
static double whole(const cJSON *r, const struct sae_source *s, size_t L, size_t i)
{
    if (s->output == POINT_MLP_OUT) {
        return attribution_at(r, "mlp.%d.%zu", s->layer, i);
    }
    if (s->output == POINT_Z || s->output == POINT_ATTN_OUT) {
        return attribution_at(r, "attn.%d.%zu", s->layer, i);
    }
    double sum = attribution_at(r, "precap.%zu", i);
    for (size_t l = (size_t)s->layer + (s->output == POINT_RESID_POST); l < L; l++) {
        sum -= attribution_at(r, "attn.%zu.%zu", l, i) + attribution_at(r, "mlp.%zu.%zu", l, i);
    }
    return sum;
}

/* Every SAE of every kind and site: features, bias and error add up. */
static void sources_of_every_site_add_up(void)
{
    int sites[POINT_COUNT] = {0}, transcoders = 0;
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct v1 v;
        char folder[128];
        (void)snprintf(folder, sizeof folder, V1_ORACLE "/%s", oracle_names[f]);
        REQUIRE(v1_open(&v, folder));
        const struct catalogue *c = engine_catalogue(v.app.engine);
        size_t L = engine_config(v.app.engine)->n_layers;
        for (size_t s = 0; s < c->n_sources; s++) {
            const struct sae_source *source = &c->sources[s];
            char body[300];
            (void)snprintf(body, sizeof body,
                           "{\"tokens\":[2,17,90,33,4],\"position\":3,\"targets\":[7,41],"
                           "\"sources\":[\"%s\"],\"top\":1000}",
                           source->name);
            struct v1_answer a = v1_post(&v, PATH, body);
            CHECK(a.status == 200);
            for (size_t i = 0; i < 2 && a.status == 200; i++) {
                double features = attribution_at(
                    json_get(json_get(a.json, "features_sum"), source->name), "%zu", i);
                double sum =
                    features +
                    attribution_at(json_get(json_get(a.json, "sae_bias"), source->name), "%zu", i) +
                    attribution_at(json_get(json_get(a.json, "sae_error"), source->name), "%zu", i);
                CHECK_NEAR(sum, whole(a.json, source, L, i), 1e-4);
                const cJSON *list = cJSON_GetArrayItem(
                    json_get(json_get(a.json, "features"), source->name), (int)i);
                double listed = 0, last = INFINITY;
                const cJSON *part;
                cJSON_ArrayForEach(part, list)
                {
                    double value = v1_number(part, "value");
                    CHECK(fabs(value) <= last && v1_number(part, "activation") > 0);
                    last = fabs(value);
                    listed += value;
                }
                CHECK_NEAR(listed, features, 1e-4);
            }
            CHECK(cJSON_IsNull(v1_at(a.json, "neurons_top")));
            sites[source->output]++;
            transcoders += source->is_transcoder;
            v1_free(&a);
        }
        v1_close(&v);
    }
    CHECK(sites[POINT_RESID_POST] && sites[POINT_MLP_OUT] && sites[POINT_Z] && transcoders);
}

static void names_its_targets_and_takes_the_likeliest_by_default(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH, "{\"prompt\":\"In the beginning\"}");
    CHECK(a.status == 200 && v1_size(a.json, "targets") == 1);
    CHECK_STRING(v1_string(a.json, "targets.0.token"), " of");
    CHECK(attribution_at(a.json, "targets.0.id") == 287 && attribution_at(a.json, "position") == 3);
    CHECK(v1_size(a.json, "attn") == 5 && v1_size(a.json, "attn.0") == 1);
    v1_free(&a);
    struct v1_answer trace =
        v1_post(&v, "/v1/trace",
                "{\"prompt\":\"In the beginning\",\"read\":[\"logits\"],\"positions\":[1]}");
    a = v1_post(&v, PATH,
                "{\"prompt\":\"In the beginning\",\"position\":1,\"targets\":[\" God\",270]}");
    CHECK(v1_size(a.json, "targets") == 2);
    CHECK_NEAR(attribution_at(a.json, "logit.1"),
               attribution_at(trace.json, "tensors.logits.data.270"), 1e-4);
    CHECK_STRING(v1_string(a.json, "targets.0.token"), " God");
    double share = attribution_at(a.json, "logit.0") / 30.0;
    CHECK_NEAR(attribution_at(a.json, "slope.0"), 1 - share * share, 1e-5);
    v1_free(&trace);
    v1_free(&a);
    v1_close(&v);
}

static void edits_are_seen_and_those_of_strength_0_change_no_byte(void)
{
    static const char start[] = "{\"tokens\":[2,908,270,3378],\"targets\":[287],\"neuron_layer\":2,"
                                "\"sources\":[\"2-gemmascope-res-2k\",\"2-gemmascope-mlp-2k\"]";
    struct v1 v;
    char body[700];
    REQUIRE(v1_open(&v, V1_DEMO));
    (void)snprintf(body, sizeof body, "%s}", start);
    struct v1_answer plain = v1_post(&v, PATH, body);
    for (int strength = 0; strength <= 9; strength += 9) {
        (void)snprintf(body, sizeof body,
                       "%s,\"edits\":[{\"type\":\"add\",\"source\":\"2-gemmascope-res-2k\","
                       "\"index\":251,\"strength\":%d},{\"type\":\"splice\",\"source\":"
                       "\"2-gemmascope-res-2k\",\"keep_error\":true}]}",
                       start, strength);
        struct v1_answer a = v1_post(&v, PATH, body);
        REQUIRE(a.status == 200 && plain.status == 200);
        CHECK((strcmp(a.text, plain.text) == 0) == (strength == 0));
        double sum = attribution_at(a.json, "embed.0") + attribution_at(a.json, "rest.0");
        for (int l = 0; l < 5; l++) {
            sum += attribution_at(a.json, "attn.%d.0", l) + attribution_at(a.json, "mlp.%d.0", l);
        }
        CHECK_NEAR(sum, attribution_at(a.json, "precap.0"), 1e-4);
        CHECK((fabs(attribution_at(a.json, "rest.0")) > 1e-2) == (strength != 0));
        v1_free(&a);
    }
    v1_free(&plain);
    v1_close(&v);
}

static void names_what_is_wrong(void)
{
    static const struct v1_bad bad[] = {
        {"[]", 400, "body"},
        {"{}", 422, "prompt"},
        {"{\"prompt\":1}", 422, "prompt"},
        {"{\"prompt\":\"a\",\"tokens\":[2]}", 400, "prompt"},
        {"{\"tokens\":[]}", 400, "tokens"},
        {"{\"tokens\":[2,4096]}", 400, "tokens[1]"},
        {"{\"prompt\":\"a\",\"position\":2}", 400, "position"},
        {"{\"prompt\":\"a\",\"position\":-3}", 400, "position"},
        {"{\"prompt\":\"a\",\"position\":\"last\"}", 422, "position"},
        {"{\"prompt\":\"a\",\"targets\":3}", 422, "targets"},
        {"{\"prompt\":\"a\",\"targets\":[true]}", 422, "targets[0]"},
        {"{\"prompt\":\"a\",\"targets\":[3,4096]}", 400, "targets[1]"},
        {"{\"prompt\":\"a\",\"targets\":[\"two tokens\"]}", 400, "targets[0]"},
        {"{\"prompt\":\"a\",\"sources\":\"2-gemmascope-res-2k\"}", 422, "sources"},
        {"{\"prompt\":\"a\",\"sources\":[2]}", 422, "sources[0]"},
        {"{\"prompt\":\"a\",\"sources\":[\"9-gemmascope-res-2k\"]}", 404, "sources[0]"},
        {"{\"prompt\":\"a\",\"sources\":[\"2\"]}", 400, "neuron_layer: 2"},
        {"{\"prompt\":\"a\",\"neuron_layer\":5}", 400, "neuron_layer"},
        {"{\"prompt\":\"a\",\"neuron_layer\":\"2\"}", 422, "neuron_layer"},
        {"{\"prompt\":\"a\",\"top\":0}", 400, "top"},
        {"{\"prompt\":\"a\",\"top\":1001}", 400, "top"},
        {"{\"prompt\":\"a\",\"edits\":[{\"type\":\"zero\"}]}", 422, "edits[0].point"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, PATH, bad, sizeof bad / sizeof bad[0]);
    v1_close(&v);
}

static void survives_every_failed_allocation(void)
{
    struct v1 v;
    struct session *session;
    struct status st = {0};
    REQUIRE(v1_open(&v, V1_ORACLE "/gemma2-nano-bf16"));
    REQUIRE_OK(session_create(&session, v.app.engine, &st), st);
    const int32_t ids[] = {2, 17, 5}, targets[] = {4, 9};
    struct attribution_source source = {.name = "2-gemmascope-res-160"};
    struct attribution a = {.ids = ids,
                            .n_ids = 3,
                            .position = 2,
                            .targets = targets,
                            .n_targets = 2,
                            .sources = &source,
                            .n_sources = 1,
                            .neuron_layer = 1,
                            .top = 4};
    REQUIRE_OK(engine_attribution(session, &a, NULL, &st), st);
    attribution_free(&a);
    int failures = 0;
    for (long nth = 1; nth < 400; nth++) {
        memory_fail_after(nth);
        int code = engine_attribution(session, &a, NULL, &st);
        bool failed = memory_fail_after(0) >= nth;
        CHECK(code == (failed ? STATUS_MEMORY : STATUS_OK));
        attribution_free(&a);
        failures += failed;
        if (!failed) {
            break;
        }
    }
    CHECK(failures > 15 && failures < 399);
    session_destroy(session);
    v1_close(&v);
}

static const struct test tests[] = {TEST(meets_every_array_of_the_oracle),
                                    TEST(the_parts_add_up_to_the_model_s_own_logit),
                                    TEST(sources_of_every_site_add_up),
                                    TEST(names_its_targets_and_takes_the_likeliest_by_default),
                                    TEST(edits_are_seen_and_those_of_strength_0_change_no_byte),
                                    TEST(names_what_is_wrong),
                                    TEST(survives_every_failed_allocation)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
