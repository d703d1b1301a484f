/* What may be asked of POST /v1/trace, and what is refused. */
#include "tests/trace_reply.h"

#define NANO2 V1_ORACLE "/gemma2-nano-bf16"
#define NANO3 V1_ORACLE "/gemma3-nano-bf16"

/* The row of `all` that belongs to row r of `some`, along dimension `axis`. */
static void check_rows(const struct trace_answer *some, const struct trace_answer *all,
                       const char *name, int axis, const int *rows, size_t n)
{
    struct trace_tensor a = trace_tensor(some, "%s", name), b = trace_tensor(all, "%s", name);
    size_t outer = 1, inner = 1;
    CHECK(a.n_dims == b.n_dims && a.shape[axis] == n);
    for (int i = 0; i < b.n_dims; i++) {
        outer *= i < axis ? b.shape[i] : 1;
        inner *= i > axis ? b.shape[i] : 1;
    }
    REQUIRE(a.n == outer * n * inner && a.n > 0);
    double worst = 0;
    for (size_t o = 0; o < outer; o++) {
        for (size_t r = 0; r < n; r++) {
            for (size_t i = 0; i < inner; i++) {
                float x = a.values[(o * n + r) * inner + i];
                float y = b.values[(o * b.shape[axis] + (size_t)rows[r]) * inner + i];
                worst = fmax(worst, fabs((double)(x - y)) / (1 + fabs((double)y)));
            }
        }
    }
    if (!(worst <= 1e-5)) {
        printf("    %s: %.3g apart\n", name, worst);
        test_failures_++;
    }
    free(a.values);
    free(b.values);
}

static void keeps_the_order_of_positions_with_negative_and_double_ones(void)
{
    static const char *const fixtures[] = {"gemma2-nano-bf16", "gemma3-nano-bf16"};
    for (int f = 0; f < 2; f++) {
        struct v1 v;
        char folder[96], reads[1024];
        snprintf(folder, sizeof folder, V1_ORACLE "/%s", fixtures[f]);
        REQUIRE(v1_open(&v, folder));
        const struct sae_source *s = v1_source(&v, POINT_RESID_POST, false);
        const struct sae_source *tc = v1_source(&v, POINT_MLP_IN_PREGAIN, true);
        tc = tc ? tc : v1_source(&v, POINT_MLP_IN, true);
        REQUIRE(s && tc);
        snprintf(reads, sizeof reads,
                 "],\"read\":[\"logits\",\"loss\",\"resid_post.1\",\"pattern.1\",\"scores.0\","
                 "\"q.0\",\"k.2\",\"embed\",\"final_norm\",\"acts:%s\",\"recon:%s\",\"error:%s\","
                 "\"input:%s\",\"pre:%s\",\"error:%s\"]",
                 s->name, s->name, s->name, s->name, s->name, tc->name);
        struct text body = {0};
        char *ids = v1_ids(fixtures[f], "window");
        REQUIRE(ids);
        ids[strlen(ids) - 1] = '\0'; /* the ] is in reads */
        text_printf(&body, "{\"tokens\":%s%s}", ids, reads);
        struct trace_answer all = trace_post(&v, body.data);
        text_clear(&body);
        text_printf(&body, "{\"tokens\":%s%s,\"positions\":[-1,3,-24,3]}", ids, reads);
        struct trace_answer some = trace_post(&v, body.data);
        static const int rows[] = {23, 3, 0, 3};
        for (int i = 0; i < 4; i++) {
            char at[32];
            snprintf(at, sizeof at, "positions.%d", i);
            CHECK(v1_number(some.a.json, at) == rows[i]);
        }
        CHECK(v1_size(some.a.json, "positions") == 4 && v1_size(all.a.json, "positions") == 24);
        CHECK(v1_size(some.a.json, "tokens") == 24); /* of the prompt, whatever is read */
        static const char *const names[] = {"logits", "resid_post.1", "embed", "final_norm"};
        for (int i = 0; i < 4; i++) {
            check_rows(&some, &all, names[i], 0, rows, 4);
        }
        check_rows(&some, &all, "q.0", 0, rows, 4);
        check_rows(&some, &all, "k.2", 0, rows, 4);
        check_rows(&some, &all, "pattern.1", 1, rows, 4);
        check_rows(&some, &all, "scores.0", 1, rows, 4);
        static const char *const kinds[] = {"acts", "recon", "error", "input", "pre"};
        for (int i = 0; i < 5; i++) {
            char name[160];
            snprintf(name, sizeof name, "%s:%s", kinds[i], s->name);
            check_rows(&some, &all, name, 0, rows, 4);
        }
        char name[160];
        snprintf(name, sizeof name, "error:%s", tc->name);
        check_rows(&some, &all, name, 0, rows, 4);
        struct trace_tensor loss = trace_tensor(&some, "loss");
        CHECK(loss.n_dims == 1 && loss.n == 23); /* whatever the positions */
        free(loss.values);
        trace_free_answer(&all);
        trace_free_answer(&some);
        text_free(&body);
        free(ids);
        v1_close(&v);
    }
}

static void a_star_is_every_layer_and_a_name_twice_is_one_tensor(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    struct trace_answer t = trace_post(
        &v, "{\"tokens\":[2,5,7],\"read\":[\"resid_post.*\",\"resid_post.2\",\"resid_post.02\"]}");
    CHECK(trace_count(&t) == 4);
    for (int l = 0; l < 4; l++) {
        struct trace_tensor x = trace_tensor(&t, "resid_post.%d", l);
        CHECK(x.n == 3 * 48);
        free(x.values);
    }
    trace_free_answer(&t);
    v1_close(&v);
}

/* resid_pre of a layer is resid_post of the one before, embed for the first (the README). */
static void reads_what_a_layer_gets_as_what_the_one_before_left(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, NANO3));
    struct trace_answer t = trace_post(&v, "{\"tokens\":[2,5,7],\"read\":[\"resid_pre.0\","
                                           "\"embed\",\"resid_pre.4\",\"resid_post.3\"]}");
    static const char *const pairs[][2] = {{"resid_pre.0", "embed"},
                                           {"resid_pre.4", "resid_post.3"}};
    for (int i = 0; i < 2; i++) {
        struct trace_tensor a = trace_tensor(&t, "%s", pairs[i][0]);
        struct trace_tensor b = trace_tensor(&t, "%s", pairs[i][1]);
        CHECK(a.n == b.n && a.n == 3 * 40 && memcmp(a.values, b.values, a.n * 4) == 0);
        free(a.values);
        free(b.values);
    }
    trace_free_answer(&t);
    v1_close(&v);
}

static void names_tokens_by_their_id_without_a_tokenizer(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    struct trace_answer t = trace_post(&v, "{\"tokens\":[2,17],\"read\":[\"embed\"]}");
    CHECK_STRING(v1_string(t.a.json, "token_strings.1"), "<id:17>");
    CHECK_STRING(v1_string(t.a.json, "tokenStrings.0"), "<id:2>");
    trace_free_answer(&t);
    static const struct v1_bad bad[] = {
        {"{\"prompt\":\"a\",\"read\":[\"embed\"]}", 400, "no tokenizer"}};
    v1_refuses(&v, TRACE, bad, 1);
    v1_close(&v);
}

static void refuses_what_cannot_be_read(void)
{
    static const struct v1_bad bad[] = {
        {"{\"tokens\":[2]}", 422, "read"},
        {"{\"tokens\":[2],\"read\":\"embed\"}", 422, "read"},
        {"{\"tokens\":[2],\"read\":[]}", 400, "read"},
        {"{\"tokens\":[2],\"read\":[3]}", 422, "read"},
        {"{\"tokens\":[2],\"read\":[\"\"]}", 400, "read"},
        {"{\"tokens\":[2],\"read\":[\"resid\"]}", 400, "\"resid\""},
        {"{\"tokens\":[2],\"read\":[\"resid_post\"]}", 400, "\"resid_post\""},
        {"{\"tokens\":[2],\"read\":[\"embed.0\"]}", 400, "\"embed.0\""},
        {"{\"tokens\":[2],\"read\":[\"resid_post.\"]}", 400, "\"resid_post.\""},
        {"{\"tokens\":[2],\"read\":[\"resid_post.-1\"]}", 400, "\"resid_post.-1\""},
        {"{\"tokens\":[2],\"read\":[\"resid_post. 1\"]}", 400, "\"resid_post. 1\""},
        {"{\"tokens\":[2],\"read\":[\"resid_post.1x\"]}", 400, "\"resid_post.1x\""},
        {"{\"tokens\":[2],\"read\":[\"resid_post.4\"]}", 400, "0..3"},
        {"{\"tokens\":[2],\"read\":[\"resid_post.99999999999999999999\"]}", 400, "0..3"},
        {"{\"tokens\":[2],\"read\":[\"embed\",\"acts:nothing\"]}", 404, "\"nothing\""},
        {"{\"tokens\":[2],\"read\":[\"acts:\"]}", 404, "source"},
        {"{\"tokens\":[2],\"read\":[\"embed\"],\"format\":\"npz\"}", 400, "format"},
        {"{\"tokens\":[2],\"read\":[\"embed\"],\"format\":1}", 422, "format"},
        {"{\"tokens\":[2],\"read\":[\"embed\"],\"edits\":[{\"op\":\"clamp\"}]}", 422,
         "edits[0].type"},
        {"{\"tokens\":[2],\"read\":[\"embed\"],\"edits\":{}}", 422, "edits"},
        {"{\"tokens\":[2],\"read\":[\"logits\"],\"top\":-1}", 400, "top"},
        {"{\"tokens\":[2],\"read\":[\"logits\"],\"top\":301}", 400, "top"},
        {"{\"tokens\":[300],\"read\":[\"embed\"]}", 400, "tokens[0]"},
        {"{\"tokens\":[],\"read\":[\"embed\"]}", 400, "tokens"},
        {"{\"read\":[\"embed\"]}", 422, "prompt"},
        {"{\"tokens\":[2],\"read\":[\"embed\\u0000\"]}", 400, "U+0000"},
        {"{\"tokens\":[2],\"read\":[\"embed\"],\"model\":1}", 422, "model"},
    };
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    v1_refuses(&v, TRACE, bad, TEST_COUNT(bad));
    CHECK(engine_tokens_computed(v.app.engine) == 0);
    struct trace_answer t = trace_post(&v, "{\"tokens\":[2],\"read\":[\"embed\"],\"edits\":[]}");
    trace_free_answer(&t); /* no edits are fine */
    v1_close(&v);
}

static void refuses_positions_that_the_prompt_does_not_have(void)
{
#define ASK(positions) "{\"tokens\":[2,5,7],\"read\":[\"embed\"],\"positions\":" positions "}"
    static const struct v1_bad bad[] = {
        {ASK("[3]"), 400, "-3..2"},        {ASK("[-4]"), 400, "-3..2"},
        {ASK("[1e30]"), 400, "-3..2"},     {ASK("[]"), 400, "at least one"},
        {ASK("[0,1.5]"), 422, "whole"},    {ASK("[\"0\"]"), 422, "a string"},
        {ASK("\"last\""), 400, "\"all\""}, {ASK("2"), 422, "positions"},
        {ASK("[0,null]"), 422, "whole"},
    };
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    v1_refuses(&v, TRACE, bad, TEST_COUNT(bad));
    struct trace_answer t = trace_post(&v, ASK("\"all\""));
    CHECK(v1_size(t.a.json, "positions") == 3);
    trace_free_answer(&t);
    v1_close(&v);
#undef ASK
}

static void takes_a_long_list_of_the_same_names_and_no_long_name(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    struct text body = {0};
    text_string(&body, "{\"tokens\":[2],\"read\":[\"embed\"");
    char *long_name = calloc(300, 1);
    memset(long_name, 'x', 299);
    text_printf(&body, ",\"%s\"]}", long_name);
    struct v1_bad bad = {body.data, 400, "xxx"};
    v1_refuses(&v, TRACE, &bad, 1); /* longer than any name */
    text_clear(&body);

    text_string(&body, "{\"tokens\":[2],\"read\":[\"embed\"");
    for (int i = 0; i < 5000; i++) {
        text_printf(&body, ",\"z.%d\"", i % 4);
    }
    text_string(&body, "]}");
    struct trace_answer t = trace_post(&v, body.data);
    CHECK(trace_count(&t) == 5);
    trace_free_answer(&t);
    free(long_name);
    text_free(&body);
    v1_close(&v);
}

/* An allocation that fails anywhere on the way is a 500 with a message or is made up for; nothing
 * leaks (AddressSanitizer sees that) and the next request is answered. */
static void survives_every_failed_allocation(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, NANO2));
    const struct sae_source *s = v1_source(&v, POINT_RESID_POST, false);
    REQUIRE(s);
    char body[400];
    snprintf(body, sizeof body,
             "{\"tokens\":[2,5,7],\"read\":[\"logits\",\"pattern.1\",\"acts:%s\",\"pre:%s\","
             "\"error:%s\"],\"top\":3,\"positions\":[2,0],\"format\":\"safetensors\"}",
             s->name, s->name, s->name);
    struct trace_answer t = trace_post(&v, body);
    trace_free_answer(&t);
    memory_fail_after(0);
    struct v1_answer a = v1_post(&v, TRACE, body);
    long n = memory_fail_after(0);
    v1_free(&a);
    CHECK(n > 30);
    int failed = 0;
    for (long i = 1; i <= n; i++) {
        memory_fail_after(i);
        a = v1_post(&v, TRACE, body);
        memory_fail_after(0);
        CHECK(a.status == 200 || a.status == 500 || (a.status == 0 && !a.text));
        failed += a.status == 500;
        v1_free(&a);
    }
    CHECK(failed > 10);
    a = v1_post(&v, TRACE, body);
    CHECK(a.status == 200);
    v1_free(&a);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(keeps_the_order_of_positions_with_negative_and_double_ones),
    TEST(a_star_is_every_layer_and_a_name_twice_is_one_tensor),
    TEST(reads_what_a_layer_gets_as_what_the_one_before_left),
    TEST(names_tokens_by_their_id_without_a_tokenizer),
    TEST(refuses_what_cannot_be_read),
    TEST(refuses_positions_that_the_prompt_does_not_have),
    TEST(takes_a_long_list_of_the_same_names_and_no_long_name),
    TEST(survives_every_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
