#include "server/work/turns.h"

#include "tests/test.h"

static void texts_have_as_long_as_the_last_pass_took(void)
{
    struct turns t = {0};
    CHECK(!turns_are_texts(&t, 100.0));
    turns_passed(&t, 100.0, 0.5);
    CHECK(turns_are_texts(&t, 100.0) && turns_are_texts(&t, 100.4));
    CHECK(!turns_are_texts(&t, 100.5));
    turns_passed(&t, 101.0, 0.0);
    CHECK(!turns_are_texts(&t, 101.0));
}

static void background_work_has_a_tenth(void)
{
    struct turns t = {0};
    double now = 100.0;
    double background = 0.0;
    while (now < 200.0) { /* others could always use the time */
        double took = turns_are_background(&t, now) ? 0.25 : 0.0625;
        now += took;
        if (took > 0.1) {
            background += took;
            turns_background_passed(&t, now, took);
        }
    }
    CHECK(background > 9.0 && background < 11.0);
}

static const struct test tests[] = {TEST(texts_have_as_long_as_the_last_pass_took),
                                    TEST(background_work_has_a_tenth)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
