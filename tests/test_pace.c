#include "server/work/pace.h"
#include "tests/test.h"

static void tells_the_rate_of_this_run_and_what_is_left(void)
{
    struct pace p = pace_of(1000, 600, 100, 2.0); /* 500 were there when the run began */
    CHECK(p.total_tokens == 1000 && p.per_second == 50.0 && p.seconds_left == 8.0);
}

static void an_estimate_that_was_too_low_is_raised(void)
{
    struct pace p = pace_of(500, 600, 100, 2.0);
    CHECK(p.total_tokens == 600 && p.seconds_left == 0.0);
}

static void says_when_it_does_not_know(void)
{
    struct pace p = pace_of(0, 600, 100, 2.0);
    CHECK(p.total_tokens == 0 && p.per_second == 50.0 && p.seconds_left < 0.0);
    p = pace_of(1000, 600, 0, 2.0);
    CHECK(p.per_second == 0.0 && p.seconds_left < 0.0);
    p = pace_of(1000, 600, 100, 0.0);
    CHECK(p.per_second == 0.0 && p.seconds_left < 0.0);
}

static const struct test tests[] = {
    TEST(tells_the_rate_of_this_run_and_what_is_left),
    TEST(an_estimate_that_was_too_low_is_raised),
    TEST(says_when_it_does_not_know),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
