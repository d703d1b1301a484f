/* What POST /v1/trace sends back: the best logits, both formats, the limit, the demo's numbers. */
#include "tests/trace_reply.h"

#define NANO2 V1_ORACLE "/gemma2-nano-bf16"

/* The n best of a row: falling, ties to the lower id. */
static void check_top(const float *logits, size_t V, const float *ids, const float *best,
                      const float *probs, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < V; i++) {
        total += exp((double)logits[i]);
    }
    bool *used = calloc(V, sizeof *used);
    for (size_t k = 0; k < n; k++) {
        size_t at = V;
        for (size_t i = 0; i < V; i++) {
            at = !used[i] && (at == V || logits[i] > logits[at]) ? i : at;
        }
        used[at] = true;
        CHECK((size_t)ids[k] == at);
        CHECK_NEAR(best[k], logits[at], 1e-5 * (1 + fabs((double)logits[at])));
        CHECK_NEAR(probs[k], exp((double)logits[at]) / total, 1e-5);
    }
    free(used);
}

static void gives_the_best_logits_of_both_families_in_both_formats(void)
{
    for (int f = 0; f < 4; f++) {
        struct v1 v;
        char folder[96];
        const char *name = v1_fixtures[f / 2 * 2];
        const char *format = f % 2 ? "safetensors" : "json";
        snprintf(folder, sizeof folder, V1_ORACLE "/%s", name);
        REQUIRE(v1_open(&v, folder));
        size_t V = engine_config(v.app.engine)->vocab_size;
        for (size_t n = 5; n <= V; n += V - 5) { /* a few, and the whole vocabulary */
            char after[160];
            snprintf(after, sizeof after,
                     ",\"read\":[\"logits\",\"embed\"],\"positions\":[-1,4],\"top\":%zu,"
                     "\"format\":\"%s\"}",
                     n, format);
            struct trace_answer t =
                trace_read(v1_ask_oracle(&v, name, "window", TRACE, "{\"tokens\":", after));
            struct trace_answer full =
                trace_read(v1_ask_oracle(&v, name, "window", TRACE, "{\"tokens\":",
                                         ",\"read\":[\"logits\"],\"positions\":[-1,4],\"top\":0}"));
            struct trace_tensor ids = trace_tensor(&t, "top_ids");
            struct trace_tensor best = trace_tensor(&t, "top_logits");
            struct trace_tensor probs = trace_tensor(&t, "top_probs");
            struct trace_tensor logits = trace_tensor(&full, "logits");
            CHECK(trace_count(&t) == 4); /* embed, and no "logits" */
            CHECK(ids.ints && !best.ints && !probs.ints && logits.n == 2 * V);
            CHECK(ids.n_dims == 2 && ids.shape[0] == 2 && ids.shape[1] == n);
            REQUIRE(ids.n == 2 * n && best.n == ids.n && probs.n == ids.n);
            for (size_t r = 0; r < 2; r++) {
                check_top(logits.values + r * V, V, ids.values + r * n, best.values + r * n,
                          probs.values + r * n, n);
            }
            free(ids.values);
            free(best.values);
            free(probs.values);
            free(logits.values);
            trace_free_answer(&t);
            trace_free_answer(&full);
        }
        v1_close(&v);
    }
}

static void a_prompt_of_one_token_has_an_empty_loss(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    for (int f = 0; f < 2; f++) {
        char body[120];
        snprintf(body, sizeof body, "{\"tokens\":[2],\"read\":[\"loss\"],\"format\":\"%s\"}",
                 f ? "safetensors" : "json");
        struct trace_answer t = trace_post(&v, body);
        struct trace_tensor loss = trace_tensor(&t, "loss");
        CHECK(loss.found && loss.n_dims == 1 && loss.n == 0);
        free(loss.values);
        trace_free_answer(&t);
    }
    v1_close(&v);
}

static void refuses_a_reply_over_the_limit_before_it_computes(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    /* [3, 48] floats: 576 bytes as safetensors, about 11 characters each in JSON */
    v.app.reply_limit = 576;
    struct v1_answer fits =
        v1_post(&v, TRACE, "{\"tokens\":[2,5,7],\"read\":[\"embed\"],\"format\":\"safetensors\"}");
    CHECK(fits.status == 200);
    v1_free(&fits);
    uint64_t before = engine_tokens_computed(v.app.engine);
    CHECK(before == 3);
    static const struct v1_bad bad[] = {
        {"{\"tokens\":[2,5,7],\"read\":[\"embed\"]}", 413, "about 1584 bytes"},
        {"{\"tokens\":[2,5,7],\"read\":[\"embed\"]}", 413, "limit of 576"},
        {"{\"tokens\":[2,5,7],\"read\":[\"logits\"],\"top\":300,\"positions\":[0],"
         "\"format\":\"safetensors\"}",
         413, "about 3600 bytes"},
        {"{\"tokens\":[2,5,7],\"read\":[\"pattern.*\"],\"positions\":[0,0,0,0],"
         "\"format\":\"safetensors\"}",
         413, "about 768 bytes"},
    };
    v1_refuses(&v, TRACE, bad, TEST_COUNT(bad));
    CHECK(engine_tokens_computed(v.app.engine) == before);
    v1_close(&v);
}

/* Ten thousand positions of every layer: the size is known without making a list for each read. */
static void refuses_many_positions_times_many_reads_at_once(void)
{
    struct v1 v;
    struct text body = {0};
    REQUIRE(v1_open(&v, NANO2));
    text_string(&body, "{\"tokens\":[2],\"read\":[\"z.*\",\"q.*\",\"k.*\",\"v.*\"],"
                       "\"positions\":[0");
    for (int i = 1; i < 10000; i++) {
        text_string(&body, ",0");
    }
    text_string(&body, "]}");
    v.app.reply_limit = 1 << 20;
    struct v1_bad bad = {body.data, 413, "--reply-limit"};
    v1_refuses(&v, TRACE, &bad, 1);
    CHECK(engine_tokens_computed(v.app.engine) == 0);
    text_free(&body);
    v1_close(&v);
}

/* --- the bundled demo against its reference.json -------------------------------------------------
 */

static cJSON *demo_reference(void)
{
    cJSON *reference = NULL;
    struct status st;
    if (json_parse_file(&reference, "demo/reference.json", 1 << 20, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return reference;
}

/* "res.3" -> the tensor resid_post.3 of the last position: its norm and its first 8 values. "attn"
 * is what the attention SAEs read. */
static void check_layer(const struct trace_answer *t, const cJSON *layer)
{
    static const struct {
        const char *word, *point;
    } names[] = {{"res", "resid_post"}, {"attn", "z"}, {"mlp", "mlp_out"}};
    const char *dot = strchr(layer->string, '.');
    for (int i = 0; i < 3; i++) {
        if (strncmp(names[i].word, layer->string, (size_t)(dot - layer->string)) != 0) {
            continue;
        }
        struct trace_tensor x = trace_tensor(t, "%s%s", names[i].point, dot);
        double sum = 0;
        for (size_t j = 0; j < x.n; j++) {
            sum += (double)x.values[j] * (double)x.values[j];
        }
        CHECK_NEAR(sqrt(sum), v1_number(layer, "norm_last"), 1e-3);
        for (int j = 0; j < 8; j++) {
            char at[32];
            snprintf(at, sizeof at, "first8_last.%d", j);
            CHECK_NEAR(x.values[j], v1_number(layer, at), 1e-3);
        }
        free(x.values);
    }
}

/* l0 and the strongest features of each position that is listed. */
static void check_features(const struct trace_answer *t, const struct sae_source *s,
                           const cJSON *list)
{
    struct trace_tensor acts = trace_tensor(t, "acts:%s", s->name);
    const cJSON *entry, *pair;
    cJSON_ArrayForEach(entry, list)
    {
        const float *row = acts.values + (size_t)v1_number(entry, "position") * s->d_sae;
        int l0 = 0;
        for (size_t j = 0; j < s->d_sae; j++) {
            l0 += row[j] != 0;
        }
        CHECK(l0 == (int)v1_number(entry, "l0"));
        cJSON_ArrayForEach(pair, json_get(entry, "top"))
        {
            CHECK_NEAR(row[(size_t)v1_number(pair, "0")], v1_number(pair, "1"), 1e-3);
        }
    }
    free(acts.values);
}

static void gives_the_demo_s_numbers_for_a_text(void)
{
    struct v1 v;
    cJSON *reference = demo_reference();
    REQUIRE(reference && v1_open(&v, V1_DEMO));
    static const char prompt[] =
        "{\"prompt\":\"In the beginning God created the heaven and the earth.\",\"read\":[";
    struct text body = {0};
    text_printf(&body,
                "%s\"resid_post.*\",\"z.*\",\"mlp_out.*\",\"logits\"],\"top\":10,"
                "\"positions\":[-1]}",
                prompt);
    struct trace_answer t = trace_post(&v, body.data);
    CHECK(cJSON_Compare(json_get(t.a.json, "tokens"), json_get(reference, "ids"), true));
    CHECK_STRING(v1_string(t.a.json, "token_strings.0"), "<bos>");
    CHECK(cJSON_Compare(json_get(t.a.json, "token_strings"), json_get(t.a.json, "tokenStrings"),
                        true));
    const cJSON *item;
    cJSON_ArrayForEach(item, json_get(reference, "layers"))
    {
        check_layer(&t, item);
    }
    for (int i = 0; i < 10; i++) {
        char at[64];
        for (int k = 0; k < 2; k++) {
            snprintf(at, sizeof at, "top_logits_last.%d.%d", i, k);
            struct trace_tensor x = trace_tensor(&t, k ? "top_logits" : "top_ids");
            CHECK_NEAR(x.values[i], v1_number(reference, at), 1e-3);
            free(x.values);
        }
    }
    trace_free_answer(&t);
    const struct catalogue *catalogue = engine_catalogue(v.app.engine);
    int compared = 0;
    for (size_t i = 0; i < catalogue->n_sources; i++) {
        const struct sae_source *s = &catalogue->sources[i];
        const cJSON *list = json_get(json_get(reference, "saes"), strstr(s->path, "saes/"));
        text_clear(&body);
        text_printf(&body, "%s\"acts:%s\"],\"format\":\"safetensors\"}", prompt, s->name);
        t = trace_post(&v, body.data);
        check_features(&t, s, list);
        compared += cJSON_GetArraySize(list) > 0;
        trace_free_answer(&t);
    }
    CHECK(compared == 4);
    text_free(&body);
    cJSON_Delete(reference);
    v1_close(&v);
}

/* Its greedy continuations: at every position generated, the best logit is the next id. */
static void continues_the_demo_s_texts_greedily(void)
{
    struct v1 v;
    cJSON *reference = demo_reference();
    REQUIRE(reference && v1_open(&v, V1_DEMO));
    const cJSON *item;
    int texts = 0;
    cJSON_ArrayForEach(item, json_get(reference, "greedy"))
    {
        struct status st;
        int32_t *ids;
        size_t n;
        REQUIRE_OK(
            engine_tokenize(v.app.engine, item->string, strlen(item->string), true, &ids, &n, &st),
            st);
        memory_free(ids);
        char *list = cJSON_PrintUnformatted(json_get(item, "ids"));
        struct text body = {0};
        text_printf(&body, "{\"tokens\":%s,\"read\":[\"logits\"],\"top\":1}", list);
        struct trace_answer t = trace_post(&v, body.data);
        struct trace_tensor best = trace_tensor(&t, "top_ids");
        CHECK(best.n == (size_t)v1_size(item, "ids") && n + 5 < best.n);
        for (size_t i = n; i < best.n; i++) {
            char at[32];
            snprintf(at, sizeof at, "ids.%zu", i);
            CHECK((double)best.values[i - 1] == v1_number(item, at));
        }
        texts++;
        free(best.values);
        free(list);
        text_free(&body);
        trace_free_answer(&t);
    }
    CHECK(texts > 0);
    cJSON_Delete(reference);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(gives_the_best_logits_of_both_families_in_both_formats),
    TEST(a_prompt_of_one_token_has_an_empty_loss),
    TEST(refuses_a_reply_over_the_limit_before_it_computes),
    TEST(refuses_many_positions_times_many_reads_at_once),
    TEST(gives_the_demo_s_numbers_for_a_text),
    TEST(continues_the_demo_s_texts_greedily),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
