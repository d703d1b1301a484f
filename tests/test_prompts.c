#include "server/v1/prompts.h"

#include "tests/v1.h"

/* Reads a body; the caller frees prompts. */
static struct status read_body(struct v1 *v, const char *json, bool batch, struct prompts *prompts)
{
    cJSON *body = cJSON_Parse(json);
    struct fields f = {.body = body};
    if (batch) {
        prompts_read_batch(prompts, &v->app, &f);
    } else {
        prompts_read(prompts, &v->app, &f);
    }
    cJSON_Delete(body);
    return f.st;
}

static void puts_one_bos_in_front_of_a_text(struct v1 *v)
{
    struct prompts plain, literal;
    struct status st = read_body(v, "{\"prompt\":\"And the LORD\"}", false, &plain);
    CHECK(st.code == 0);
    st = read_body(v, "{\"prompt\":\"<bos>And the LORD\"}", false, &literal);
    CHECK(st.code == 0);
    REQUIRE(plain.n == 1 && literal.n == 1 && plain.items[0].n_ids > 1);
    CHECK(plain.items[0].ids[0] == engine_bos(v->app.engine));
    CHECK(plain.items[0].ids[1] != engine_bos(v->app.engine));
    CHECK(prompts_has_bos(&v->app, &plain.items[0]));
    REQUIRE(plain.items[0].n_ids == literal.items[0].n_ids);
    CHECK(memcmp(plain.items[0].ids, literal.items[0].ids,
                 plain.items[0].n_ids * sizeof(int32_t)) == 0);
    prompts_free(&plain);
    prompts_free(&literal);
}

static void uses_ids_as_they_are(struct v1 *v)
{
    struct prompts prompts;
    struct status st = read_body(v, "{\"tokens\":[17,2,4095]}", false, &prompts);
    CHECK(st.code == 0);
    REQUIRE(prompts.n == 1 && prompts.items[0].n_ids == 3);
    CHECK(prompts.items[0].ids[0] == 17 && prompts.items[0].ids[2] == 4095);
    CHECK(!prompts_has_bos(&v->app, &prompts.items[0]));
    prompts_free(&prompts);
    st = read_body(v, "{\"tokens\":[[2],[5,6.0]]}", true, &prompts);
    CHECK(st.code == 0);
    REQUIRE(prompts.n == 2);
    CHECK(prompts.items[1].n_ids == 2 && prompts.items[1].ids[1] == 6);
    CHECK(prompts_has_bos(&v->app, &prompts.items[0]));
    prompts_free(&prompts);
}

static void refuses_what_is_no_prompt(struct v1 *v)
{
    static const struct {
        const char *body;
        bool batch;
        enum status_code code;
        const char *message;
    } cases[] = {
        {"{}", false, STATUS_UNPROCESSABLE, "prompt: this field is missing"},
        {"{}", true, STATUS_UNPROCESSABLE, "prompts: this field is missing"},
        {"{\"prompt\":null}", false, STATUS_UNPROCESSABLE, "prompt: this field is missing"},
        {"{\"prompt\":\"a\",\"tokens\":[2]}", false, STATUS_INVALID, "not both"},
        {"{\"prompt\":5}", false, STATUS_UNPROCESSABLE, "prompt: expected a string"},
        {"{\"tokens\":5}", false, STATUS_UNPROCESSABLE, "tokens: expected a list of ids"},
        {"{\"tokens\":[]}", false, STATUS_INVALID, "tokens: expected at least one id"},
        {"{\"tokens\":[2,\"a\"]}", false, STATUS_UNPROCESSABLE, "tokens[1]: expected a whole"},
        {"{\"tokens\":[2,1.5]}", false, STATUS_UNPROCESSABLE, "tokens[1]: expected a whole"},
        {"{\"tokens\":[4096]}", false, STATUS_INVALID, "0 to 4095, found 4096"},
        {"{\"tokens\":[2,-1]}", false, STATUS_INVALID, "tokens[1]: expected an id"},
        {"{\"tokens\":[1e300]}", false, STATUS_INVALID, "tokens[0]: expected an id"},
        {"{\"prompts\":[]}", true, STATUS_INVALID, "At least one prompt is required"},
        {"{\"prompts\":\"a\"}", true, STATUS_UNPROCESSABLE, "prompts: expected a list"},
        {"{\"prompts\":[\"a\",7]}", true, STATUS_UNPROCESSABLE, "prompts[1]: expected a string"},
        {"{\"tokens\":[[2],[2,-5]]}", true, STATUS_INVALID, "tokens[1][1]: expected an id"},
        {"{\"tokens\":[2]}", true, STATUS_UNPROCESSABLE, "tokens[0]: expected a list of ids"}};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct prompts prompts;
        struct status st = read_body(v, cases[i].body, cases[i].batch, &prompts);
        CHECK(st.code == cases[i].code);
        CHECK_CONTAINS(st.message, cases[i].message);
        prompts_free(&prompts);
    }
}

static void refuses_too_many_tokens_and_prompts_with_both_numbers(struct v1 *v)
{
    struct text body = {0};
    struct prompts prompts;
    text_string(&body, "{\"tokens\":[2");
    for (int i = 0; i < 200; i++) {
        text_string(&body, ",5");
    }
    text_string(&body, "]}");
    struct status st = read_body(v, body.data, false, &prompts);
    CHECK(st.code == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "Text too long: 201 tokens, max is 200");
    CHECK_CONTAINS(st.message, "tokens");
    prompts_free(&prompts);

    text_clear(&body);
    text_string(&body, "{\"prompts\":[\"short\",\"");
    for (int i = 0; i < 300; i++) {
        text_string(&body, "word ");
    }
    text_string(&body, "\"]}");
    st = read_body(v, body.data, true, &prompts);
    CHECK_CONTAINS(st.message, "Text too long: ");
    CHECK_CONTAINS(st.message, "max is 200 (prompts[1])");
    prompts_free(&prompts);

    text_clear(&body);
    text_string(&body, "{\"prompts\":[\"a\"");
    for (int i = 0; i < PROMPTS_MAX; i++) {
        text_string(&body, ",\"a\"");
    }
    text_string(&body, "]}");
    st = read_body(v, body.data, true, &prompts);
    CHECK(st.code == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "Batch size 65 exceeds maximum of 64");
    prompts_free(&prompts);
    text_free(&body);
}

static void survives_allocations_that_fail(struct v1 *v)
{
    bool failed = true;
    for (long nth = 1; failed && nth < 200; nth++) {
        struct prompts prompts;
        cJSON *body = cJSON_Parse("{\"prompts\":[\"one two\",\"three\"]}");
        struct fields f = {.body = body};
        memory_fail_after(nth);
        prompts_read_batch(&prompts, &v->app, &f);
        memory_fail_after(0);
        failed = f.st.code != 0;
        CHECK(!failed || f.st.code == STATUS_MEMORY);
        prompts_free(&prompts);
        cJSON_Delete(body);
    }
    CHECK(!failed);
}

#define WITH_DEMO(check)            \
    static void demo_##check(void)  \
    {                               \
        struct v1 v;                \
        if (v1_open(&v, V1_DEMO)) { \
            check(&v);              \
            v1_close(&v);           \
        }                           \
    }

WITH_DEMO(puts_one_bos_in_front_of_a_text)
WITH_DEMO(uses_ids_as_they_are)
WITH_DEMO(refuses_what_is_no_prompt)
WITH_DEMO(refuses_too_many_tokens_and_prompts_with_both_numbers)
WITH_DEMO(survives_allocations_that_fail)

static void a_model_without_a_tokenizer_takes_only_ids(void)
{
    struct v1 v;
    struct prompts prompts;
    if (!v1_open(&v, V1_ORACLE "/gemma2-nano-bf16")) {
        return;
    }
    struct status st = read_body(&v, "{\"prompt\":\"hello\"}", false, &prompts);
    CHECK(st.code == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "prompt: ");
    CHECK_CONTAINS(st.message, "send tokens");
    prompts_free(&prompts);
    st = read_body(&v, "{\"tokens\":[2,17]}", false, &prompts);
    CHECK(st.code == 0);
    CHECK(prompts_has_bos(&v.app, &prompts.items[0]));
    prompts_free(&prompts);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(demo_puts_one_bos_in_front_of_a_text),
    TEST(demo_uses_ids_as_they_are),
    TEST(demo_refuses_what_is_no_prompt),
    TEST(demo_refuses_too_many_tokens_and_prompts_with_both_numbers),
    TEST(demo_survives_allocations_that_fail),
    TEST(a_model_without_a_tokenizer_takes_only_ids)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
