#include "core/math/outer.h"

#include "tests/test.h"

enum { ROWS = 7, K = 19, M = 5 };

static void fill(float *x, size_t n)
{
    unsigned seed = 7;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 16777216.0f - 0.5f;
    }
}

static void adds_every_product_once(void)
{
    float x[ROWS * K], y[ROWS * M];
    double sum[K * M], twice[K * K] = {0};
    struct threads *threads;
    struct status st;
    fill(x, ROWS * K);
    fill(y, ROWS * M);
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    for (size_t i = 0; i < K * M; i++) {
        sum[i] = 1.0;
    }
    outer_add(threads, x, ROWS, K, y, M, false, sum);
    outer_add(threads, x, ROWS, K, x, K, true, twice);
    for (size_t i = 0; i < K; i++) {
        for (size_t j = 0; j < M; j++) {
            double want = 1.0;
            for (size_t t = 0; t < ROWS; t++) {
                want += (double)x[t * K + i] * (double)y[t * M + j];
            }
            CHECK_NEAR(sum[i * M + j], want, 1e-14);
        }
        for (size_t j = 0; j < K; j++) {
            double want = 0.0;
            for (size_t t = 0; t < ROWS && j >= i; t++) {
                want += (double)x[t * K + i] * (double)x[t * K + j];
            }
            CHECK_NEAR(twice[i * K + j], want, 1e-14);
        }
    }
    threads_destroy(threads);
}

static void bits_do_not_depend_on_threads(void)
{
    float x[ROWS * K];
    double one[K * K] = {0}, three[K * K] = {0};
    struct threads *threads;
    struct status st;
    fill(x, ROWS * K);
    REQUIRE_OK(threads_create(&threads, 1, &st), st);
    outer_add(threads, x, ROWS, K, x, K, false, one);
    threads_destroy(threads);
    REQUIRE_OK(threads_create(&threads, 3, &st), st);
    outer_add(threads, x, ROWS, K, x, K, false, three);
    threads_destroy(threads);
    CHECK(memcmp(one, three, sizeof one) == 0);
}

static const struct test tests[] = {
    TEST(adds_every_product_once),
    TEST(bits_do_not_depend_on_threads),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
