#include "server/http/emit.h"

#include "core/base/json.h"
#include "tests/test.h"

#include <stdlib.h>

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void check_rounded(double value, int decimals, const char *expected)
{
    struct text t = {0};
    struct emitter w = {.out = &t};
    emit_rounded(&w, value, decimals);
    CHECK_STRING(t.data, expected);
    text_free(&t);
}

static void check_quoted(const char *s, size_t n, const char *expected)
{
    struct text t = {0};
    struct emitter w = {.out = &t};
    emit_string_n(&w, s, n);
    CHECK_STRING(t.data, expected);
    text_free(&t);
}

static void puts_commas_and_colons_where_they_belong(void)
{
    struct text t = {0};
    struct emitter w = {.out = &t};
    emit_object(&w);
    emit_key(&w, "a");
    emit_int(&w, -7);
    emit_key(&w, "b");
    emit_array(&w);
    emit_bool(&w, true);
    emit_null(&w);
    emit_object(&w);
    emit_end_object(&w);
    emit_string(&w, "x");
    emit_end_array(&w);
    emit_key(&w, "c");
    emit_raw(&w, "[1]", 3);
    emit_key(&w, "d");
    emit_floats(&w, (const float[]){1, 0.5f}, 2);
    emit_key(&w, "e");
    emit_floats(&w, NULL, 0);
    emit_end_object(&w);
    CHECK_STRING(t.data, "{\"a\":-7,\"b\":[true,null,{},\"x\"],\"c\":[1],\"d\":[1,0.5],\"e\":[]}");
    text_free(&t);
}

static void escapes_what_json_asks_for_and_nothing_more(void)
{
    check_quoted("a\"b\\c\n\r\t", 8, "\"a\\\"b\\\\c\\n\\r\\t\"");
    check_quoted("\x01\x1f\x7f\0z", 5, "\"\\u0001\\u001f\x7f\\u0000z\"");
    check_quoted("</script>", 9, "\"</script>\"");
    check_quoted("\xE2\x96\x81h\xC3\xA9", 6, "\"\xE2\x96\x81h\xC3\xA9\"");
    check_quoted("", 0, "\"\"");
}

static void replaces_invalid_utf8(void)
{
    check_quoted("a\xFF"
                 "b",
                 3,
                 "\"a\xEF\xBF\xBD"
                 "b\"");
    check_quoted("\xE2\x96", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    check_quoted("\xE2\"", 2, "\"\xEF\xBF\xBD\\\"\"");
    check_quoted("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void marks_a_text_that_nests_too_deep_as_failed(void)
{
    struct text t = {0};
    struct emitter w = {.out = &t};
    for (int i = 0; i < EMIT_DEPTH - 1; i++) {
        emit_array(&w);
    }
    CHECK(!t.failed);
    emit_array(&w);
    CHECK(t.failed);
    text_free(&t);
}

static void what_is_no_number_becomes_null(void)
{
    struct text t = {0};
    struct emitter w = {.out = &t};
    emit_array(&w);
    emit_float(&w, NAN);
    emit_float(&w, -INFINITY);
    emit_double(&w, (double)NAN);
    emit_double(&w, -0.0);
    emit_float(&w, 0.1f);
    emit_double(&w, 0.1);
    emit_floats(&w, (const float[]){NAN, 2}, 2);
    emit_end_array(&w);
    CHECK_STRING(t.data, "[null,null,null,-0.0,0.1,0.1,[null,2]]");
    text_free(&t);
}

static void rounds_as_python_does(void)
{
    check_rounded(2.675, 2, "2.67"); /* the double is a little below */
    check_rounded(0.5, 0, "0");      /* half to even */
    check_rounded(1.5, 0, "2");
    check_rounded(1.0 / 3, 3, "0.333");
    check_rounded(2.0, 3, "2");
    check_rounded(0.125, 2, "0.12");
    check_rounded(-0.0004, 3, "-0.0");
    check_rounded(12.3004, 3, "12.3");
    check_rounded(1e300, 3, "1e+300");
    check_rounded((double)INFINITY, 3, "null");
}

static void cjson_reads_what_it_writes(void)
{
    uint64_t state = 42;
    for (int round = 0; round < 200; round++) {
        char bytes[64];
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (char)(1 + next_random(&state) % 255);
        }
        struct text t = {0};
        struct emitter w = {.out = &t};
        float value = float_of((uint32_t)next_random(&state));
        emit_object(&w);
        emit_key(&w, "s");
        emit_string_n(&w, bytes, sizeof bytes);
        emit_key(&w, "f");
        emit_floats(&w, &value, 1);
        emit_end_object(&w);
        REQUIRE(!t.failed);
        cJSON *root;
        struct status st;
        REQUIRE_OK(json_parse(&root, t.data, t.length, "emitted", &st), st);
        struct text clean = {0};
        text_append_utf8(&clean, bytes, sizeof bytes);
        CHECK_STRING(json_get(root, "s")->valuestring, clean.data);
        const cJSON *number = json_get(root, "f")->child;
        CHECK(isfinite(value) ? (float)number->valuedouble == value : cJSON_IsNull(number));
        text_free(&clean);
        cJSON_Delete(root);
        text_free(&t);
    }
}

static const struct test tests[] = {
    TEST(puts_commas_and_colons_where_they_belong),
    TEST(escapes_what_json_asks_for_and_nothing_more),
    TEST(replaces_invalid_utf8),
    TEST(marks_a_text_that_nests_too_deep_as_failed),
    TEST(what_is_no_number_becomes_null),
    TEST(rounds_as_python_does),
    TEST(cjson_reads_what_it_writes),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
