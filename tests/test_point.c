#include "core/gemma/point.h"
#include "tests/test.h"

static void finds_every_point_by_its_own_name(void)
{
    for (int i = 0; i < POINT_COUNT; i++) {
        enum point found = POINT_COUNT;
        const char *name = point_name((enum point)i);
        REQUIRE(name && *name);
        CHECK(point_find(name, strlen(name), &found) && found == (enum point)i);
    }
}

static void takes_the_length_it_is_given(void)
{
    enum point found = POINT_COUNT;
    CHECK(point_find("resid_post.20", 10, &found) && found == POINT_RESID_POST);
    CHECK(point_find("qqq", 1, &found) && found == POINT_Q);
    CHECK(!point_find("resid_post", 9, &found) && !point_find("resid_post.20", 13, &found));
    CHECK(!point_find("", 0, &found) && !point_find("Embed", 5, &found));
    CHECK(found == POINT_Q); /* untouched */
}

static void knows_which_points_have_layers(void)
{
    static const char *const model[] = {"embed", "final_norm", "logits", "loss"};
    int without = 0;
    for (int i = 0; i < POINT_COUNT; i++) {
        bool of_model = false;
        for (int k = 0; k < 4; k++) {
            of_model = of_model || strcmp(point_name((enum point)i), model[k]) == 0;
        }
        CHECK(point_has_layer((enum point)i) == !of_model);
        without += of_model;
    }
    CHECK(without == 4);
}

static const struct test tests[] = {
    TEST(finds_every_point_by_its_own_name),
    TEST(takes_the_length_it_is_given),
    TEST(knows_which_points_have_layers),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
