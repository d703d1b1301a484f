/* Edits and steering by the model's own neurons over HTTP: on every fixture, each is what an edit
 * of the point itself says. */
#include "tests/oracle.h"
#include "tests/v1.h"

static struct v1_answer trace(struct v1 *v, const char *fixture, const char *edits)
{
    struct text after = {0};
    text_printf(&after, ",\"read\":[\"neurons.1\",\"mlp_out.1\",\"logits\"],\"edits\":[%s]}",
                edits);
    struct v1_answer a =
        v1_ask_oracle(v, fixture, "seven", "/v1/trace", "{\"tokens\":", after.data);
    if (a.status != 200) {
        printf("    %s: %s\n", edits, a.text);
    }
    CHECK(a.status == 200);
    text_free(&after);
    return a;
}

static void same(struct v1 *v, const char *fixture, const char *one, const char *other)
{
    struct v1_answer a = trace(v, fixture, one), b = trace(v, fixture, other);
    if (a.length != b.length || memcmp(a.text, b.text, a.length) != 0) {
        printf("    %s: %s is not %s\n", fixture, one, other);
        test_failures_++;
    }
    v1_free(&a);
    v1_free(&b);
}

/* {"type", "point", "vector": c times the unit vector of `index`}, strength 1 */
static char *unit_edit(const char *type, const char *point, size_t width, size_t index,
                       const char *more)
{
    struct text out = {0};
    text_printf(&out, "{\"type\":\"%s\",\"point\":\"%s\",%s,\"vector\":[", type, point, more);
    for (size_t i = 0; i < width; i++) {
        text_printf(&out, "%s%d", i ? "," : "", i == index);
    }
    text_string(&out, "]}");
    return text_take(&out, NULL);
}

static const char *const names[] = {"1", "1-mlp_out"}, *const points[] = {"neurons.1", "mlp_out.1"};

static void an_edit_by_a_neuron_is_the_edit_of_its_value(void)
{
    static const char *const strengths[] = {"\"strength\":2.5",
                                            "\"strength\":-40,\"skip_bos\":true",
                                            "\"strength\":3,\"multiplier\":0.5,\"unit\":true,"
                                            "\"positions\":[2,-1]"};
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[f]) && v1_open(&v, o.folder));
        const struct gemma_config *c = engine_config(v.app.engine);
        for (int n = 0; n < 2; n++) {
            char one[200], other[200];
            size_t width = n ? c->hidden_size : c->intermediate_size;
            for (int s = 0; s < 3; s++) {
                (void)snprintf(one, sizeof one,
                               "{\"type\":\"add\",\"source\":\"%s\",\"index\":17,%s}", names[n],
                               strengths[s]);
                char *vector = unit_edit("add", points[n], width, 17, strengths[s]);
                same(&v, oracle_names[f], one, vector);
                memory_free(vector);
            }
            (void)snprintf(one, sizeof one,
                           "{\"type\":\"clamp\",\"source\":\"%s\",\"indices\":[3,9],\"values\":["
                           "-160,2],\"positions\":\"last\"}",
                           names[n]);
            (void)snprintf(other, sizeof other,
                           "{\"type\":\"set\",\"point\":\"%s\",\"dim\":3,\"value\":-160,"
                           "\"positions\":\"last\"},{\"type\":\"set\",\"point\":\"%s\",\"dim\":9,"
                           "\"value\":2,\"positions\":\"last\"}",
                           points[n], points[n]);
            same(&v, oracle_names[f], one, other);
            (void)snprintf(one, sizeof one, "{\"type\":\"ablate\",\"source\":\"%s\",\"index\":5}",
                           names[n]);
            (void)snprintf(other, sizeof other,
                           "{\"type\":\"orthogonal\",\"source\":\"%s\",\"index\":5,\"strength\":0},"
                           "{\"type\":\"add\",\"source\":\"%s\",\"index\":5,\"strength\":0}",
                           names[n], names[n]);
            struct v1_answer a = trace(&v, oracle_names[f], one);
            struct v1_answer b = trace(&v, oracle_names[f], other);
            struct v1_answer clean = trace(&v, oracle_names[f], "");
            char path[64];
            for (size_t t = 0; t < 7; t++) {
                const cJSON *got =
                    cJSON_GetObjectItemCaseSensitive(json_get(a.json, "tensors"), points[n]);
                (void)snprintf(path, sizeof path, "data.%zu", t * width + 5);
                CHECK(v1_number(got, path) == 0);
                got = cJSON_GetObjectItemCaseSensitive(json_get(clean.json, "tensors"), points[n]);
                CHECK(v1_number(got, path) != 0);
            }
            CHECK(cJSON_Compare(v1_at(a.json, "tensors.logits.data"),
                                v1_at(b.json, "tensors.logits.data"), true));
            v1_free(&a);
            v1_free(&b);
            v1_free(&clean);
        }
        v1_close(&v);
        oracle_close(&o);
    }
}

static void one_that_changes_nothing_changes_no_byte(void)
{
    static const char *const nothing[] = {
        "{\"type\":\"add\",\"source\":\"1\",\"index\":3,\"strength\":0}",
        "{\"type\":\"orthogonal\",\"source\":\"1\",\"index\":3,\"strength\":1}",
        "{\"type\":\"cap\",\"source\":\"1-mlp_out\",\"index\":3,\"strength\":1e30}"};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_ORACLE "/gemma3-nano-bf16"));
    for (size_t i = 0; i < TEST_COUNT(nothing); i++) {
        same(&v, "gemma3-nano-bf16", nothing[i], "");
    }
    struct v1_answer clean = trace(&v, "gemma3-nano-bf16", "");
    struct v1_answer capped =
        trace(&v, "gemma3-nano-bf16",
              "{\"type\":\"cap\",\"source\":\"1-mlp_out\",\"index\":3,\"strength\":-0.25}");
    size_t D = engine_config(v.app.engine)->hidden_size;
    for (size_t t = 0; t < 7; t++) {
        char path[32];
        (void)snprintf(path, sizeof path, "data.%zu", t * D + 3);
        const cJSON *was =
            cJSON_GetObjectItemCaseSensitive(json_get(clean.json, "tensors"), "mlp_out.1");
        const cJSON *is =
            cJSON_GetObjectItemCaseSensitive(json_get(capped.json, "tensors"), "mlp_out.1");
        CHECK(v1_number(is, path) == fmin(v1_number(was, path), -0.25));
    }
    v1_free(&clean);
    v1_free(&capped);
    v1_close(&v);
}

static void a_text_is_steered_by_a_neuron(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    size_t D = engine_config(v.app.engine)->hidden_size;
    static const char start[] = "{\"prompt\":\"In the beginning God\",\"types\":[\"STEERED\","
                                "\"DEFAULT\"],\"n_completion_tokens\":8,\"n_logprobs\":3,";
    struct text body = {0};
    text_printf(&body, "%s\"features\":[{\"source\":\"3-mlp_out\",\"index\":116,\"strength\":60}]}",
                start);
    struct v1_answer a = v1_post(&v, "/v1/steer/completion", body.data);
    text_clear(&body);
    text_printf(&body,
                "%s\"vectors\":[{\"hook\":\"blocks.3.hook_mlp_out\",\"strength\":60,"
                "\"steering_vector\":[",
                start);
    for (size_t i = 0; i < D; i++) {
        text_printf(&body, "%s%d", i ? "," : "", i == 116);
    }
    text_string(&body, "]}]}");
    struct v1_answer b = v1_post(&v, "/v1/steer/completion", body.data);
    CHECK(a.status == 200 && b.status == 200 && a.length == b.length);
    CHECK_STRING(a.text, b.text);
    CHECK(strcmp(v1_string(a.json, "outputs.0.output"), v1_string(a.json, "outputs.1.output")) !=
          0);
    v1_free(&a);
    v1_free(&b);
    text_free(&body);
    v1_close(&v);
}

static void names_what_neurons_do_not_have(void)
{
    static const struct v1_bad bad[] = {
        {"{\"tokens\":[2],\"read\":[\"loss\"],\"edits\":[{\"type\":\"splice\",\"source\":\"2\"}]}",
         400, "no reconstruction"},
        {"{\"tokens\":[2],\"read\":[\"loss\"],\"edits\":[{\"type\":\"error_only\",\"source\":"
         "\"2-mlp_out\"}]}",
         400, "no reconstruction"},
        {"{\"tokens\":[2],\"read\":[\"loss\"],\"edits\":[{\"type\":\"ablate\",\"source\":\"2\","
         "\"index\":999999}]}",
         400, "edits[0].index"},
        {"{\"tokens\":[2],\"read\":[\"loss\"],\"edits\":[{\"type\":\"ablate\",\"source\":\"5\","
         "\"index\":1}]}",
         404, "edits[0].source"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, "/v1/trace", bad, TEST_COUNT(bad));
    v1_close(&v);
}

static const struct test tests[] = {TEST(an_edit_by_a_neuron_is_the_edit_of_its_value),
                                    TEST(one_that_changes_nothing_changes_no_byte),
                                    TEST(a_text_is_steered_by_a_neuron),
                                    TEST(names_what_neurons_do_not_have)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
