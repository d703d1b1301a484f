#include "server/http/decimal.h"

#include "tests/test.h"

#include <limits.h>
#include <stdint.h>
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
    char number[DECIMAL_MAX + 1];
    number[decimal_float(value, number)] = '\0';
    CHECK_STRING(number, expected);
}

static void check_double(double value, const char *expected)
{
    char number[DECIMAL_MAX + 1];
    number[decimal_double(value, number)] = '\0';
    CHECK_STRING(number, expected);
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
    char number[DECIMAL_MAX + 1];
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
        number[decimal_float(value, number)] = '\0';
        float back = strtof(number, NULL);
        if (memcmp(&back, &value, sizeof value) != 0) {
            printf("    %s for %.9g\n", number, (double)value);
            wrong++;
        }
        if (i % 16 < 2) {
            long_ones += digits_in(number) > digits_needed(value);
        }
    }
    CHECK(wrong == 0);
    CHECK(long_ones == 0);
}

static void floats_at_the_edges_of_powers_read_back(void)
{
    char number[DECIMAL_MAX + 1];
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
            number[decimal_float(value, number)] = '\0';
            wrong += strtof(number, NULL) != value;
            long_ones += digits_in(number) > digits_needed(value);
        }
    }
    CHECK(wrong == 0);
    CHECK(long_ones == 0);
}

static void every_double_reads_back_as_itself(void)
{
    uint64_t state = 1234567;
    char number[DECIMAL_MAX + 1];
    int wrong = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = next_random(&state);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        number[decimal_double(value, number)] = '\0';
        wrong += strtod(number, NULL) != value;
    }
    CHECK(wrong == 0);
}

/* The slow way, which is printf's. */
static void expect_rounded(double value, int decimals, int *wrong)
{
    char printed[400], expected[DECIMAL_MAX + 1], number[DECIMAL_MAX + 1];
    (void)snprintf(printed, sizeof printed, "%.*f", decimals, value);
    expected[decimal_double(strtod(printed, NULL), expected)] = '\0';
    number[decimal_rounded(value, decimals, number)] = '\0';
    if (strcmp(number, expected) != 0 && (*wrong)++ < 5) {
        printf("    %.17g to %d places: expected %s, found %s\n", value, decimals, expected,
               number);
    }
}

static void rounds_floats_as_printf_does(void)
{
    uint64_t state = 88172645463325252u;
    int wrong = 0;
    for (int i = 0; i < 300000; i++) {
        uint64_t random = next_random(&state);
        float value = float_of((uint32_t)(random >> 16 & 0x807FFFFF) |
                               (uint32_t)(100 + (random & 0xFFFF) % 80) << 23);
        expect_rounded((double)value, (int)(random >> 8 & 0xF) % 11, &wrong);
    }
    for (int i = -4000; i <= 4000; i++) { /* ties, and what is not far from them */
        for (int decimals = 0; decimals <= 9; decimals++) {
            expect_rounded(i / 16.0, decimals, &wrong);
            expect_rounded(i / 1000.0, decimals, &wrong);
            expect_rounded((double)(float)(i / 1000.0), decimals, &wrong);
            expect_rounded(i * 1e12, decimals, &wrong);
        }
    }
    CHECK(wrong == 0);
}

static void writes_whole_numbers(void)
{
    static const long long numbers[] = {0, 7, -7, 10, -1000, LLONG_MAX, LLONG_MIN};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char expected[DECIMAL_MAX + 1], number[DECIMAL_MAX + 1];
        (void)snprintf(expected, sizeof expected, "%lld", numbers[i]);
        number[decimal_integer(numbers[i], number)] = '\0';
        CHECK_STRING(number, expected);
    }
}

static const struct test tests[] = {
    TEST(rounds_floats_as_printf_does),          TEST(writes_whole_numbers),
    TEST(prints_floats_as_short_as_they_can_be), TEST(prints_doubles_as_python_does),
    TEST(every_float_reads_back_as_itself),      TEST(floats_at_the_edges_of_powers_read_back),
    TEST(every_double_reads_back_as_itself),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
