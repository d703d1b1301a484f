#include "core/formats/narrow.h"

#include "tests/test.h"

#include <stdint.h>

static float widen(uint16_t half, enum dtype dtype)
{
    struct tensor t = {.data = &half, .dtype = dtype, .n_dims = 1, .shape = {1, 1, 1, 1}};
    return tensor_get(&t, 0);
}

/* Every number of two bytes comes back as itself. */
static void keeps_what_fits(void)
{
    for (uint32_t i = 0; i <= 0xFFFF; i++) {
        float b = widen((uint16_t)i, DTYPE_BF16), f = widen((uint16_t)i, DTYPE_F16);
        CHECK(isnan(b) ? isnan(widen(narrow_bf16(b), DTYPE_BF16)) : narrow_bf16(b) == i);
        CHECK(isnan(f) ? isnan(widen(narrow_f16(f), DTYPE_F16)) : narrow_f16(f) == i);
    }
}

/* Between two neighbours: to the nearer one, in the middle to the even one, on both sides of 0. */
static void rounds_to_the_nearest_and_ties_to_even(void)
{
    for (int d = 0; d < 2; d++) {
        enum dtype dtype = d ? DTYPE_F16 : DTYPE_BF16;
        uint16_t (*narrow)(float) = d ? narrow_f16 : narrow_bf16;
        uint32_t last = d ? 0x7BFE : 0x7F7E; /* the largest but one */
        for (uint32_t i = 0; i <= last; i += d ? 1 : 7) {
            float low = widen((uint16_t)i, dtype), high = widen((uint16_t)(i + 1), dtype);
            float middle = (float)(((double)low + (double)high) / 2);
            if ((double)middle != ((double)low + (double)high) / 2) {
                continue; /* no float32 stands exactly between them */
            }
            CHECK(narrow(middle) == (i & 1 ? i + 1 : i));
            CHECK(narrow(nextafterf(middle, 0)) == i);
            CHECK(narrow(nextafterf(middle, INFINITY)) == i + 1);
            CHECK(narrow(-nextafterf(middle, INFINITY)) == (0x8000u | (i + 1)));
        }
    }
}

static void says_which_value_did_not_fit(void)
{
    const float values[] = {1.0f, 65504.0f, 65519.0f, 65520.0f, -1e6f, INFINITY};
    uint16_t halves[6];
    float same[6];
    CHECK(narrow_all(values, 6, DTYPE_F16, halves) == 3);
    CHECK(halves[2] == 0x7BFF && halves[3] == 0x7C00 && halves[4] == 0xFC00);
    CHECK(narrow_all(values, 6, DTYPE_BF16, halves) == 6);
    CHECK(narrow_all(values, 6, DTYPE_F32, same) == 6);
    CHECK(memcmp(values, same, sizeof same) == 0);
    const float large[] = {3.4e38f};
    CHECK(narrow_all(large, 1, DTYPE_BF16, halves) == 0);
}

static const struct test tests[] = {TEST(keeps_what_fits),
                                    TEST(rounds_to_the_nearest_and_ties_to_even),
                                    TEST(says_which_value_did_not_fit)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
