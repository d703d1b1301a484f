#include "core/dashboard/histogram.h"

#include "tests/test.h"

static void has_fifty_equal_bins_of_which_the_last_is_closed(void)
{
    struct histogram h;
    histogram_start(&h, 1.0f, 51.0f);
    CHECK(h.n_bins == HISTOGRAM_BINS);
    const float values[] = {1.0f, 1.999f, 2.0f, 49.999f, 50.0f, 51.0f};
    const size_t bins[] = {0, 0, 1, 48, 49, 49};
    for (size_t i = 0; i < 6; i++) {
        struct histogram one = h;
        histogram_add(&one, values[i], 3);
        CHECK(one.count[bins[i]] == 3);
    }
}

static void has_no_bins_where_all_values_are_equal(void)
{
    struct histogram h;
    const float equal[] = {2.5f, 2.5f, 2.5f};
    histogram_of(&h, equal, 3);
    CHECK(h.n_bins == 0);
    CHECK(h.count[0] == 0);
    histogram_of(&h, equal, 0);
    CHECK(h.n_bins == 0);
}

static void puts_values_outside_into_the_outer_bins(void)
{
    struct histogram h;
    histogram_start(&h, 0.0f, 1.0f);
    histogram_add(&h, -3.0f, 1);
    histogram_add(&h, 7.0f, 1);
    CHECK(h.count[0] == 1);
    CHECK(h.count[HISTOGRAM_BINS - 1] == 1);
}

static void counts_every_value_once(void)
{
    float values[1000];
    struct histogram h;
    uint32_t total = 0;
    for (size_t i = 0; i < 1000; i++) {
        values[i] = sinf((float)i) * 1e30f;
    }
    histogram_of(&h, values, 1000);
    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        total += h.count[i];
    }
    CHECK(total == 1000);
    CHECK(h.low < -9e29f && h.high > 9e29f);
}

static const struct test tests[] = {
    TEST(has_fifty_equal_bins_of_which_the_last_is_closed),
    TEST(has_no_bins_where_all_values_are_equal),
    TEST(puts_values_outside_into_the_outer_bins),
    TEST(counts_every_value_once),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
