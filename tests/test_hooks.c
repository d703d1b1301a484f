#include "server/v1/hooks.h"

#include "tests/test.h"

static const struct gemma_config config = {.n_layers = 26};

static void knows_both_spellings_of_a_point(void)
{
    static const struct {
        const char *name;
        enum point point;
        int layer;
    } cases[] = {{"blocks.20.hook_resid_post", POINT_RESID_POST, 20},
                 {"resid_post.20", POINT_RESID_POST, 20},
                 {"blocks.0.hook_resid_pre", POINT_RESID_PRE, 0},
                 {"blocks.25.attn.hook_z", POINT_Z, 25},
                 {"blocks.3.ln2.hook_normalized", POINT_MLP_IN_PREGAIN, 3},
                 {"blocks.3.hook_mlp_out", POINT_MLP_OUT, 3},
                 {"mlp_in.7", POINT_MLP_IN, 7},
                 {"hook_embed", POINT_EMBED, 0},
                 {"embed", POINT_EMBED, 0},
                 {"final_norm", POINT_FINAL_NORM, 0}};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        enum point point;
        int layer;
        struct status st = {0};
        REQUIRE_OK(hooks_find(cases[i].name, &config, &point, &layer, &st), st);
        CHECK(point == cases[i].point && layer == cases[i].layer);
    }
}

static void refuses_what_is_no_row_of_this_model(void)
{
    static const char *const names[] = {"",
                                        "blocks.",
                                        "blocks.x.hook_resid_post",
                                        "blocks.1hook_resid_post",
                                        "pattern.1",
                                        "loss",
                                        "blocks.26.hook_resid_post",
                                        "blocks.99999.hook_resid_post",
                                        "scores.0",
                                        "blocks.1.hook_q",
                                        "resid_post",
                                        "resid_post.",
                                        "embed.1",
                                        "resid_post.1.2",
                                        "resid_post.-1",
                                        "resid_post.26"};
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        enum point point;
        int layer;
        struct status st = {0};
        CHECK(hooks_find(names[i], &config, &point, &layer, &st) == STATUS_INVALID);
        CHECK_CONTAINS(st.message, "hook: ");
    }
}

static const struct test tests[] = {TEST(knows_both_spellings_of_a_point),
                                    TEST(refuses_what_is_no_row_of_this_model)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
