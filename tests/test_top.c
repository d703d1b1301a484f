#include "core/math/top.h"

#include "tests/test.h"

static void picks_the_largest_first_and_the_lower_index_of_equals(void)
{
    static const float values[] = {1, 5, -2, 5, 3, NAN, 3};
    int32_t index[4];
    float best[4];
    CHECK(top_pick(values, 7, 4, index, best) == 4);
    CHECK(index[0] == 1 && index[1] == 3 && index[2] == 4 && index[3] == 6);
    CHECK(best[0] == 5 && best[1] == 5 && best[2] == 3 && best[3] == 3);
}

static void says_how_many_there_are(void)
{
    static const float values[] = {NAN, -1, NAN, 2};
    int32_t index[4];
    float best[4];
    CHECK(top_pick(values, 4, 4, index, best) == 2);
    CHECK(index[0] == 3 && index[1] == 1);
    CHECK(top_pick(values, 4, 0, index, best) == 0);
    CHECK(top_pick(values, 0, 4, index, best) == 0);
}

static const struct test tests[] = {
    TEST(picks_the_largest_first_and_the_lower_index_of_equals),
    TEST(says_how_many_there_are),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
