#include "core/base/memory.h"
#include "core/gemma/sampler.h"
#include "tests/test.h"

enum { V = 8, DRAWS = 20000 };

static const float logits[V] = {0.5f, 2.0f, -1.0f, 2.0f, 1.0f, -30.0f, 0.0f, 1.5f};

static struct sampler *make(struct sampler_options options)
{
    struct status st;
    struct sampler *s;
    if (sampler_create(&s, &options, V, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return s;
}

static void temperature_0_takes_the_largest_and_the_lower_of_equal_ones(void)
{
    struct sampler *s = make((struct sampler_options){.seed = 5});
    CHECK(sampler_pick(s, logits) == 1);
    CHECK(sampler_pick(s, logits) == 1);
    sampler_destroy(s);
}

static void the_penalty_counts_the_prompt_and_what_was_generated(void)
{
    struct sampler *s = make((struct sampler_options){.freq_penalty = 0.4f});
    sampler_count(s, (const int32_t[]){1, 1, 7}, 3);
    CHECK(sampler_pick(s, logits) == 3); /* 1: 2.0 - 0.8, 7: 1.5 - 0.4 */
    sampler_count(s, (const int32_t[]){3, 3}, 2);
    CHECK(sampler_pick(s, logits) == 1); /* 1 and 3: 1.2, the lower id */
    sampler_count(s, (const int32_t[]){1, 3}, 2);
    CHECK(sampler_pick(s, logits) == 7); /* 1.1, then 4: 1.0 */
    sampler_destroy(s);
    s = make((struct sampler_options){.freq_penalty = -1.0f});
    sampler_count(s, (const int32_t[]){6, 6, 6}, 3);
    CHECK(sampler_pick(s, logits) == 6);
    sampler_destroy(s);
}

/* How often each id came up. */
static void draw_many(struct sampler_options options, int counts[V])
{
    struct sampler *s = make(options);
    memset(counts, 0, V * sizeof *counts);
    for (int i = 0; i < DRAWS; i++) {
        counts[sampler_pick(s, logits)]++;
    }
    sampler_destroy(s);
}

static void draws_follow_the_softmax(void)
{
    int counts[V];
    static const float temperatures[] = {0.5f, 1.0f, 2.0f};
    for (int k = 0; k < 3; k++) {
        double T = (double)temperatures[k], total = 0.0;
        draw_many((struct sampler_options){.temperature = temperatures[k], .seed = 1}, counts);
        for (int i = 0; i < V; i++) {
            total += exp((double)logits[i] / T);
        }
        for (int i = 0; i < V; i++) {
            CHECK_NEAR(counts[i] / (double)DRAWS, exp((double)logits[i] / T) / total, 0.012);
        }
    }
}

static void top_k_and_top_p_leave_the_rest_out(void)
{
    int counts[V];
    draw_many((struct sampler_options){.temperature = 1.0f, .top_k = 3}, counts);
    CHECK(counts[1] + counts[3] + counts[7] == DRAWS);
    CHECK(counts[7] > DRAWS / 10);
    draw_many((struct sampler_options){.temperature = 1.0f, .top_k = 1}, counts);
    CHECK(counts[1] == DRAWS);
    /* softmax: 1 and 3 have 0.296 each, 7 has 0.179, 4 has 0.109 */
    draw_many((struct sampler_options){.temperature = 1.0f, .top_p = 0.7f}, counts);
    CHECK(counts[1] + counts[3] + counts[7] == DRAWS);
    CHECK(counts[1] > 0 && counts[3] > 0 && counts[7] > 0);
    draw_many((struct sampler_options){.temperature = 1.0f, .top_p = 0.29f}, counts);
    CHECK(counts[1] == DRAWS);
    /* of the three largest, 0.384 + 0.384 reach 0.7 */
    draw_many((struct sampler_options){.temperature = 1.0f, .top_k = 3, .top_p = 0.7f}, counts);
    CHECK(counts[1] + counts[3] == DRAWS);
    draw_many((struct sampler_options){.temperature = 1.0f, .top_k = V + 5, .top_p = 1.0f}, counts);
    CHECK(counts[6] > 0 && counts[2] > 0);
}

static void the_same_seed_gives_the_same_ids(void)
{
    int32_t first[64];
    int differ = 0;
    for (int run = 0; run < 3; run++) {
        struct sampler *s =
            make((struct sampler_options){.temperature = 1.0f, .seed = run == 2 ? 12 : 11});
        for (int i = 0; i < 64; i++) {
            int32_t id = sampler_pick(s, logits);
            differ += run == 2 && id != first[i];
            if (run == 0) {
                first[i] = id;
            }
            CHECK(run == 2 || id == first[i]);
        }
        sampler_destroy(s);
    }
    CHECK(differ > 10);
}

static void a_tiny_temperature_neither_overflows_nor_changes_the_choice(void)
{
    struct sampler *s = make((struct sampler_options){.temperature = 1e-30f, .seed = 3});
    for (int i = 0; i < 50; i++) {
        int32_t id = sampler_pick(s, logits);
        CHECK(id == 1 || id == 3);
    }
    sampler_destroy(s);
}

static void log_probabilities_are_those_of_the_model(void)
{
    int32_t ids[V];
    float top[V];
    double total = 0.0;
    for (int i = 0; i < V; i++) {
        total += exp((double)logits[i]);
    }
    float own = sampler_logprob(logits, V, 6, 3, ids, top);
    CHECK_NEAR(own, -log(total), 1e-6);
    CHECK(ids[0] == 1 && ids[1] == 3 && ids[2] == 7);
    CHECK_NEAR(top[0], 2.0 - log(total), 1e-6);
    CHECK_NEAR(top[2], 1.5 - log(total), 1e-6);
    (void)sampler_logprob(logits, V, 0, V, ids, top);
    static const int32_t order[V] = {1, 3, 7, 4, 0, 6, 2, 5};
    CHECK(memcmp(ids, order, sizeof order) == 0);
    CHECK_NEAR(sampler_logprob(logits, V, 5, 0, NULL, NULL), -30.0 - log(total), 1e-5);
}

static void survives_failed_allocations(void)
{
    for (long nth = 1; nth <= 3; nth++) {
        struct sampler *s;
        struct status st;
        struct sampler_options options = {0};
        (void)memory_fail_after(nth);
        CHECK(sampler_create(&s, &options, V, &st) == STATUS_MEMORY && !s);
        (void)memory_fail_after(0);
    }
    sampler_destroy(NULL);
}

static const struct test tests[] = {
    TEST(temperature_0_takes_the_largest_and_the_lower_of_equal_ones),
    TEST(the_penalty_counts_the_prompt_and_what_was_generated),
    TEST(draws_follow_the_softmax),
    TEST(top_k_and_top_p_leave_the_rest_out),
    TEST(the_same_seed_gives_the_same_ids),
    TEST(a_tiny_temperature_neither_overflows_nor_changes_the_choice),
    TEST(log_probabilities_are_those_of_the_model),
    TEST(survives_failed_allocations),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
