#include "core/gemma/taps.h"
#include "tests/test.h"

static void goes_as_deep_as_the_deepest_tap(void)
{
    static const struct {
        struct tap taps[2];
        size_t n, layers;
        bool head;
    } cases[] = {
        {{{.point = POINT_EMBED}}, 0, 0, false},
        {{{.point = POINT_EMBED}}, 1, 0, false},
        {{{.point = POINT_RESID_PRE, .layer = 0}}, 1, 1, false},
        {{{.point = POINT_RESID_POST, .layer = 20}, {.point = POINT_Z, .layer = 3}}, 2, 21, false},
        {{{.point = POINT_Z, .layer = 3}, {.point = POINT_RESID_POST, .layer = 20}}, 2, 21, false},
        {{{.point = POINT_LOGITS}}, 1, 0, true},
        {{{.point = POINT_LOSS}}, 1, 0, true},
        {{{.point = POINT_FINAL_NORM}, {.point = POINT_K, .layer = 1}}, 2, 2, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct taps taps = {.taps = cases[i].taps, .n = cases[i].n};
        struct taps_depth depth = taps_depth(&taps);
        CHECK(depth.layers == cases[i].layers && depth.head == cases[i].head);
    }
}

static void copies_the_rows_asked_for_in_their_order(void)
{
    static const float x[] = {0, 1, 10, 11, 20, 21};
    static const int32_t rows[] = {2, 0, 2};
    float all[6] = {0}, some[6] = {0}, other[6] = {0};
    struct tap list[] = {
        {.point = POINT_Z, .layer = 1, .sequence = 4, .out = all},
        {.point = POINT_Z, .layer = 1, .sequence = 4, .rows = rows, .n_rows = 3, .out = some},
        {.point = POINT_Z, .layer = 1, .sequence = 3, .out = other},
        {.point = POINT_Z, .layer = 2, .sequence = 4, .out = other},
        {.point = POINT_NEURONS, .layer = 1, .sequence = 4, .out = other},
    };
    struct taps taps = {.taps = list, .n = 5};
    static const float expected[] = {20, 21, 0, 1, 20, 21}, nothing[6] = {0};
    CHECK(taps_want(&taps, POINT_Z, 1, 4) && taps_want(&taps, POINT_Z, 1, 3));
    CHECK(!taps_want(&taps, POINT_Z, 0, 4) && !taps_want(&taps, POINT_Z, 1, 2));
    CHECK(!taps_want(&taps, POINT_Q, 1, 4));
    taps_offer(&taps, POINT_Z, 1, 4, x, 3, 2);
    CHECK(memcmp(all, x, sizeof x) == 0);
    CHECK(memcmp(some, expected, sizeof expected) == 0);
    CHECK(memcmp(other, nothing, sizeof nothing) == 0);
}

static void a_point_without_a_layer_matches_whatever_layer_is_named(void)
{
    float x = 7, out = 0;
    struct tap tap = {.point = POINT_EMBED, .layer = 5, .out = &out};
    struct taps taps = {.taps = &tap, .n = 1};
    CHECK(taps_want(&taps, POINT_EMBED, 0, 0));
    taps_offer(&taps, POINT_EMBED, 0, 0, &x, 1, 1);
    CHECK(out == 7);
}

/* out is [H, rows, keys]. */
static void puts_attention_rows_where_they_belong(void)
{
    static const int32_t rows[] = {1, 1};
    float all[2 * 2 * 3] = {0}, some[2 * 2 * 3] = {0};
    struct tap list[] = {
        {.point = POINT_PATTERN, .layer = 0, .out = all},
        {.point = POINT_PATTERN, .layer = 0, .rows = rows, .n_rows = 2, .out = some},
    };
    struct taps taps = {.taps = list, .n = 2};
    for (size_t head = 0; head < 2; head++) {
        for (size_t row = 0; row < 2; row++) {
            float base = (float)(100 * head + 10 * row);
            float x[] = {base, base + 1, base + 2};
            taps_offer_attention(&taps, POINT_PATTERN, 0, 0, head, row, 2, x, 3);
        }
    }
    static const float expected[] = {0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112};
    static const float twice[] = {10, 11, 12, 10, 11, 12, 110, 111, 112, 110, 111, 112};
    CHECK(memcmp(all, expected, sizeof expected) == 0);
    CHECK(memcmp(some, twice, sizeof twice) == 0);
}

static void knows_which_tokens_need_logits(void)
{
    static const int32_t rows[] = {3, 1};
    struct tap logits = {.point = POINT_LOGITS, .sequence = 2, .rows = rows, .n_rows = 2};
    struct tap loss = {.point = POINT_LOSS, .sequence = 2, .rows = rows, .n_rows = 2};
    struct taps some = {.taps = &logits, .n = 1}, losses = {.taps = &loss, .n = 1};
    for (size_t row = 0; row < 5; row++) {
        CHECK(taps_want_logits(&some, 2, row, 5) == (row == 1 || row == 3));
        CHECK(!taps_want_logits(&some, 1, row, 5));
        CHECK(taps_want_logits(&losses, 2, row, 5) == (row < 4)); /* the last predicts nothing */
    }
    logits.rows = NULL;
    CHECK(taps_want_logits(&some, 2, 0, 5) && taps_want_logits(&some, 2, 4, 5));
}

static void gives_whole_rows_of_logits_and_the_loss_of_each(void)
{
    static const float x[] = {1, 3, 2, 0};
    static const int32_t rows[] = {1, 0, 1};
    float out[12] = {0}, loss[2] = {0};
    struct tap list[] = {{.point = POINT_LOGITS, .rows = rows, .n_rows = 3, .out = out},
                         {.point = POINT_LOSS, .out = loss}};
    struct taps taps = {.taps = list, .n = 2};
    taps_offer_logits(&taps, 0, 1, 3, x, 4, 2);
    static const float expected[] = {1, 3, 2, 0, 0, 0, 0, 0, 1, 3, 2, 0};
    CHECK(memcmp(out, expected, sizeof out) == 0);
    CHECK(loss[0] == 0);
    CHECK_NEAR(loss[1], log(exp(1) + exp(3) + exp(2) + 1) - 2, 1e-6);
    taps_offer_logits(&taps, 0, 2, 3, x, 4, -1); /* the last: no token follows */
    CHECK_NEAR(loss[1], log(exp(1) + exp(3) + exp(2) + 1) - 2, 1e-6);
}

static void ranks_the_best_logits_with_ties_to_the_lower_id(void)
{
    static const float x[] = {2, 5, -1, 5, 2, 4};
    for (size_t top = 1; top <= 6; top++) {
        float out[6] = {0}, probs[6] = {0};
        int32_t ids[6] = {0};
        struct tap tap = {
            .point = POINT_LOGITS, .out = out, .top = top, .top_ids = ids, .top_probs = probs};
        struct taps taps = {.taps = &tap, .n = 1};
        taps_offer_logits(&taps, 0, 0, 1, x, 6, -1);
        static const int32_t order[] = {1, 3, 5, 0, 4, 2};
        double total = 2 * exp(2) + 2 * exp(5) + exp(-1) + exp(4);
        for (size_t i = 0; i < top; i++) {
            CHECK(ids[i] == order[i] && out[i] == x[order[i]]);
            CHECK_NEAR(probs[i], exp((double)x[order[i]]) / total, 1e-6);
        }
    }
}

static const struct test tests[] = {
    TEST(goes_as_deep_as_the_deepest_tap),
    TEST(copies_the_rows_asked_for_in_their_order),
    TEST(a_point_without_a_layer_matches_whatever_layer_is_named),
    TEST(puts_attention_rows_where_they_belong),
    TEST(knows_which_tokens_need_logits),
    TEST(gives_whole_rows_of_logits_and_the_loss_of_each),
    TEST(ranks_the_best_logits_with_ties_to_the_lower_id),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
