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

static void check_float(float value, const char *expected)
{
    struct text t = {0};
    struct emitter w = {.out = &t};
    emit_float(&w, value);
    CHECK_STRING(t.data, expected);
    text_free(&t);
}

static void check_double(double value, const char *expected)
{
    struct text t = {0};
    struct emitter w = {.out = &t};
    emit_double(&w, value);
    CHECK_STRING(t.data, expected);
    text_free(&t);
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

static void prints_floats_as_short_as_they_can_be(void)
{
    check_float(0.0f, "0");
    check_float(-0.0f, "-0.0");
    check_float(1.0f, "1");
    check_float(-100000.0f, "-100000");
    check_float(0.1f, "0.1");
    check_float(0.3f, "0.3");
    check_float(1.0f / 3, "0.33333334");
    check_float(16777216.0f, "16777216");
    check_float(123456789.0f, "123456790");
    check_float(9.9999999e14f, "1000000000000000");
    check_float(1e16f, "1e+16");
    check_float(0.0001f, "0.0001");
    check_float(0.00001f, "1e-05");
    check_float(3.4028235e38f, "3.4028235e+38");
    check_float(1e-45f, "1e-45");
    check_float(1.1754944e-38f, "1.1754944e-38");
    check_float(9.999996f, "9.999996");
    check_float(999999.94f, "999999.94");
    check_float(NAN, "null");
    check_float(-INFINITY, "null");
}

static void prints_doubles_as_python_does(void)
{
    check_double(0.1, "0.1");
    check_double(0.1 + 0.2, "0.30000000000000004");
    check_double(-0.0, "-0.0");
    check_double(1e15, "1000000000000000");
    check_double(9007199254740993.0, "9007199254740992");
    check_double(1e22, "1e+22");
    check_double(5e-324, "5e-324");
    check_double(1.7976931348623157e308, "1.7976931348623157e+308");
    check_double(123.456, "123.456");
    check_double(NAN, "null");
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
    check_rounded(INFINITY, 3, "null");
}

/* %.*g with the least digits that read back, the definition of shortest. */
static int digits_needed(float value)
{
    char printed[32];
    for (int precision = 1; precision < 9; precision++) {
        (void)snprintf(printed, sizeof printed, "%.*g", precision, (double)value);
        if (strtof(printed, NULL) == value) {
            return precision;
        }
    }
    return 9;
}

static int digits_in(const char *number)
{
    char digits[64];
    int n = 0;
    for (; *number && *number != 'e'; number++) {
        if (*number >= '0' && *number <= '9' && (n > 0 || *number != '0')) {
            digits[n++] = *number;
        }
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    return n;
}

static void every_float_reads_back_as_itself(void)
{
    uint64_t state = 88172645463325252u;
    struct text t = {0};
    int wrong = 0, long_ones = 0;
    for (int i = 0; i < 1000000 && wrong < 5; i++) {
        uint64_t random = next_random(&state);
        float value = float_of((uint32_t)(random >> 16));
        if (i % 2) { /* as activations are: 2^-16 .. 2^32 */
            value = float_of((uint32_t)(random >> 16 & 0x807FFFFF) |
                             (uint32_t)(111 + (random & 0xFFFF) % 48) << 23);
        }
        if (!isfinite(value)) {
            continue;
        }
        text_clear(&t);
        struct emitter w = {.out = &t};
        emit_float(&w, value);
        float back = strtof(t.data, NULL);
        if (memcmp(&back, &value, sizeof value) != 0) {
            printf("    %s for %.9g\n", t.data, (double)value);
            wrong++;
        }
        if (i % 16 < 2) {
            long_ones += digits_in(t.data) > digits_needed(value);
        }
    }
    CHECK(wrong == 0);
    CHECK(long_ones == 0);
    text_free(&t);
}

static void floats_at_the_edges_of_powers_read_back(void)
{
    struct text t = {0};
    int wrong = 0, long_ones = 0;
    for (int exponent = -45; exponent <= 38; exponent++) {
        char power[16];
        (void)snprintf(power, sizeof power, "1e%d", exponent);
        float centre = strtof(power, NULL);
        uint32_t bits;
        memcpy(&bits, &centre, sizeof bits);
        for (int step = -20; step <= 20; step++) {
            float value = float_of(bits + (uint32_t)step);
            if (!(value > 0) || !isfinite(value)) {
                continue;
            }
            text_clear(&t);
            struct emitter w = {.out = &t};
            emit_float(&w, value);
            wrong += strtof(t.data, NULL) != value;
            long_ones += digits_in(t.data) > digits_needed(value);
        }
    }
    CHECK(wrong == 0);
    CHECK(long_ones == 0);
    text_free(&t);
}

static void every_double_reads_back_as_itself(void)
{
    uint64_t state = 1234567;
    struct text t = {0};
    int wrong = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = next_random(&state);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        text_clear(&t);
        struct emitter w = {.out = &t};
        emit_double(&w, value);
        wrong += strtod(t.data, NULL) != value;
    }
    CHECK(wrong == 0);
    text_free(&t);
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
    TEST(prints_floats_as_short_as_they_can_be),
    TEST(prints_doubles_as_python_does),
    TEST(rounds_as_python_does),
    TEST(every_float_reads_back_as_itself),
    TEST(floats_at_the_edges_of_powers_read_back),
    TEST(every_double_reads_back_as_itself),
    TEST(cjson_reads_what_it_writes),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
