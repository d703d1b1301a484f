#include "tests/v1.h"

#define PATH "/v1/tokenize"

static void gives_ids_and_the_text_of_each(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a =
        v1_post(&v, PATH, "{\"model\":\"gemma-2-demo\",\"text\":\"And the LORD\"}");
    CHECK(a.status == 200);
    CHECK(v1_number(a.json, "tokens.0") == engine_bos(v.app.engine));
    CHECK_STRING(v1_string(a.json, "token_strings.0"), "<bos>");
    CHECK_STRING(v1_string(a.json, "tokenStrings.1"), "And");
    CHECK_STRING(v1_string(a.json, "token_strings.2"), " the");
    CHECK(v1_size(a.json, "tokens") == v1_size(a.json, "token_strings"));
    CHECK(cJSON_IsTrue(v1_at(a.json, "prepend_bos")));
    CHECK(v1_both_spellings(a.json) == 0);
    v1_free(&a);
    v1_close(&v);
}

static void adds_bos_by_default_never_twice_and_not_when_told(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH, "{\"text\":\"<bos>And\",\"prepend_bos\":null}");
    CHECK(v1_size(a.json, "tokens") == 2);
    v1_free(&a);
    a = v1_post(&v, PATH, "{\"text\":\"And\",\"prependBos\":false}");
    CHECK(v1_size(a.json, "tokens") == 1);
    CHECK(cJSON_IsFalse(v1_at(a.json, "prependBos")));
    v1_free(&a);
    a = v1_post(&v, PATH, "{\"text\":\"\",\"prepend_bos\":false}");
    CHECK(a.status == 200 && v1_size(a.json, "tokens") == 0);
    v1_free(&a);
    v1_close(&v);
}

static void refuses_bad_requests(void)
{
    static const struct v1_bad bad[] = {
        {"", 400, "body"},
        {"{", 400, "body"},
        {"[]", 400, "body"},
        {"{\"text\":\"a\\u0000b\"}", 400, "U+0000"},
        {"{}", 422, "text: this field is missing"},
        {"{\"text\":5}", 422, "text"},
        {"{\"text\":\"a\",\"model\":1}", 422, "model"},
        {"{\"text\":\"a\",\"prepend_bos\":\"yes\"}", 422, "prepend_bos"},
        {"{\"text\":\"a\",\"prepend_bos\":true,\"prependBos\":false}", 400, "prependBos"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, PATH, bad, TEST_COUNT(bad));
    struct text body = {0};
    text_string(&body, "{\"text\":\"");
    for (int i = 0; i < 400; i++) {
        text_string(&body, "word ");
    }
    text_string(&body, "\"}");
    const struct v1_bad longer = {body.data, 400, "tokens, max is 200 (text)"};
    v1_refuses(&v, PATH, &longer, 1);
    text_free(&body);
    v1_close(&v);
}

static const struct test tests[] = {TEST(gives_ids_and_the_text_of_each),
                                    TEST(adds_bos_by_default_never_twice_and_not_when_told),
                                    TEST(refuses_bad_requests)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
