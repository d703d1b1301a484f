#include "server/v1/fields.h"

#include "core/base/memory.h"
#include "tests/test.h"

static cJSON *parse(struct fields *f, const char *json)
{
    cJSON *body = cJSON_Parse(json);
    *f = (struct fields){.body = body};
    return body;
}

static void spells_names_both_ways(void)
{
    char camel[FIELDS_NAME];
    fields_camel("max_value_index", camel);
    CHECK_STRING(camel, "maxValueIndex");
    fields_camel("prompt", camel);
    CHECK_STRING(camel, "prompt");
}

static void finds_a_field_under_either_spelling(void)
{
    struct fields f;
    cJSON *body = parse(&f, "{\"source_set\":\"a\",\"topK\":3,\"ignoreBos\":true}");
    CHECK_STRING(fields_string(&f, "source_set"), "a");
    CHECK(fields_integer(&f, "top_k", 1, 10, 5) == 3);
    CHECK(fields_bool(&f, "ignore_bos", false));
    CHECK(f.st.code == 0);
    cJSON_Delete(body);
}

static void takes_both_spellings_when_they_agree_and_refuses_them_when_not(void)
{
    struct fields f;
    cJSON *body = parse(&f, "{\"top_k\":3,\"topK\":3}");
    CHECK(fields_integer(&f, "top_k", 1, 10, 5) == 3 && f.st.code == 0);
    cJSON_Delete(body);
    body = parse(&f, "{\"top_k\":3,\"topK\":4}");
    CHECK(fields_integer(&f, "top_k", 1, 10, 5) == 5);
    CHECK(f.st.code == STATUS_INVALID);
    CHECK_CONTAINS(f.st.message, "top_k");
    CHECK_CONTAINS(f.st.message, "topK");
    cJSON_Delete(body);
}

static void treats_null_as_absent(void)
{
    struct fields f;
    cJSON *body =
        parse(&f, "{\"top_k\":null,\"model\":null,\"source_set\":null,\"sourceSet\":\"b\"}");
    CHECK(fields_integer(&f, "top_k", 1, 10, 5) == 5);
    fields_model(&f);
    CHECK_STRING(fields_string(&f, "source_set"), "b");
    CHECK(f.st.code == 0);
    CHECK(fields_need(&f, "top_k") == NULL && f.st.code == STATUS_UNPROCESSABLE);
    CHECK_CONTAINS(f.st.message, "top_k: this field is missing");
    cJSON_Delete(body);
}

static void names_wrong_types(void)
{
    static const struct {
        const char *json, *message;
    } cases[] = {{"{\"source\":5}", "source: expected a string, found a number"},
                 {"{\"list\":{}}", "list: expected an array, found an object"},
                 {"{\"flag\":\"yes\"}", "flag: expected true or false, found a string"},
                 {"{\"n\":1.5}", "n: expected a whole number, found a number"},
                 {"{\"n\":true}", "n: expected a whole number, found true or false"},
                 {"{\"index\":[1]}", "index: expected a whole number or a string"},
                 {"{\"floats\":[1,\"2\"]}", "floats[1]: expected a number, found a string"},
                 {"{\"model\":7}", "model: expected a string, found a number"}};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct fields f;
        size_t n;
        cJSON *body = parse(&f, cases[i].json);
        (void)fields_string(&f, "source");
        (void)fields_array(&f, "list");
        (void)fields_bool(&f, "flag", false);
        (void)fields_integer(&f, "n", 0, 9, 0);
        (void)fields_index(&f, "index", 9);
        CHECK(fields_floats(&f, "floats", &n) == NULL);
        fields_model(&f);
        CHECK(f.st.code == STATUS_UNPROCESSABLE);
        CHECK_CONTAINS(f.st.message, cases[i].message);
        cJSON_Delete(body);
    }
}

static void names_values_out_of_range(void)
{
    static const struct {
        const char *json, *message;
    } cases[] = {{"{\"n\":10}", "n: expected 0 to 9, found 10"},
                 {"{\"n\":-1}", "n: expected 0 to 9, found -1"},
                 {"{\"n\":1e300}", "n: expected 0 to 9, found 1"},
                 {"{\"index\":\"9\"}", "index: expected 0 to 8, found \"9\""},
                 {"{\"index\":9}", "index: expected 0 to 8, found 9"},
                 {"{\"index\":-1}", "index: expected 0 to 8, found -1"},
                 {"{\"index\":\"\"}", "index: expected 0 to 8"},
                 {"{\"index\":\"+1\"}", "index: expected 0 to 8"},
                 {"{\"index\":\"1x\"}", "index: expected 0 to 8"},
                 {"{\"index\":\"99999999999999999999999\"}", "index: expected 0 to 8"},
                 {"{\"floats\":[0,1e60]}", "floats[1]: 1"}};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct fields f;
        size_t n;
        cJSON *body = parse(&f, cases[i].json);
        (void)fields_integer(&f, "n", 0, 9, 0);
        (void)fields_index(&f, "index", 9);
        CHECK(fields_floats(&f, "floats", &n) == NULL);
        CHECK(f.st.code == STATUS_INVALID);
        CHECK_CONTAINS(f.st.message, cases[i].message);
        cJSON_Delete(body);
    }
}

static void reads_an_index_as_number_or_string(void)
{
    struct fields f;
    cJSON *body = parse(&f, "{\"a\":\"8\",\"b\":8,\"c\":\"008\",\"d\":8.0}");
    CHECK(fields_index(&f, "a", 9) == 8 && fields_index(&f, "b", 9) == 8);
    CHECK(fields_index(&f, "c", 9) == 8 && fields_index(&f, "d", 9) == 8);
    CHECK(f.st.code == 0);
    cJSON_Delete(body);
}

static void keeps_the_first_error(void)
{
    struct fields f;
    cJSON *body = parse(&f, "{\"a\":1,\"b\":2}");
    (void)fields_string(&f, "a");
    (void)fields_string(&f, "b");
    (void)fields_need(&f, "c");
    CHECK_CONTAINS(f.st.message, "a: ");
    cJSON_Delete(body);
}

static void reads_floats_and_survives_a_failed_allocation(void)
{
    struct fields f;
    size_t n;
    cJSON *body = parse(&f, "{\"v\":[1,-2.5,3e-3]}");
    float *v = fields_floats(&f, "v", &n);
    REQUIRE(v && n == 3);
    CHECK_NEAR(v[1], -2.5, 0);
    memory_free(v);
    memory_fail_after(1);
    CHECK(fields_floats(&f, "v", &n) == NULL && f.st.code == STATUS_MEMORY);
    memory_fail_after(0);
    cJSON_Delete(body);
}

static const struct test tests[] = {
    TEST(spells_names_both_ways),
    TEST(finds_a_field_under_either_spelling),
    TEST(takes_both_spellings_when_they_agree_and_refuses_them_when_not),
    TEST(treats_null_as_absent),
    TEST(names_wrong_types),
    TEST(names_values_out_of_range),
    TEST(reads_an_index_as_number_or_string),
    TEST(keeps_the_first_error),
    TEST(reads_floats_and_survives_a_failed_allocation)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
