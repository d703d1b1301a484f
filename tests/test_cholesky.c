#include "core/math/cholesky.h"

#include "tests/test.h"

enum { N = 70, M = 67 }; /* over the blocks that threads take */

/* a = B^T B + 1, symmetric; b = a x for a known x. */
static void solves_what_it_factors(void)
{
    static double half[N * N], a[N * N], u[N * N], x[N * M], b[N * M];
    struct threads *threads;
    struct status st;
    unsigned seed = 3;
    for (size_t i = 0; i < N * N; i++) {
        seed = seed * 1664525u + 1013904223u;
        half[i] = (double)(seed >> 8) / 16777216.0 - 0.5;
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            a[i * N + j] = i == j ? 1.0 : 0.0;
            for (size_t k = 0; k < N; k++) {
                a[i * N + j] += half[k * N + i] * half[k * N + j];
            }
        }
    }
    for (size_t i = 0; i < N * M; i++) {
        x[i] = half[i] - 0.25;
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < M; j++) {
            b[i * M + j] = 0.0;
            for (size_t k = 0; k < N; k++) {
                b[i * M + j] += a[i * N + k] * x[k * M + j];
            }
        }
    }
    memcpy(u, a, sizeof u);
    for (size_t i = 0; i < N; i++) { /* not looked at */
        for (size_t j = 0; j < i; j++) {
            u[i * N + j] = (double)NAN;
        }
    }
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    CHECK(cholesky_factor(threads, u, N));
    cholesky_solve(threads, u, N, b, M);
    for (size_t i = 0; i < N * M; i++) {
        CHECK_NEAR(b[i], x[i], 1e-10);
    }
    threads_destroy(threads);
}

static void refuses_what_is_not_positive_definite(void)
{
    double flat[] = {1, 2, 2, 4}, negative[] = {-1}, nothing[] = {(double)NAN};
    struct threads *threads;
    struct status st;
    REQUIRE_OK(threads_create(&threads, 1, &st), st);
    CHECK(!cholesky_factor(threads, flat, 2));
    CHECK(!cholesky_factor(threads, negative, 1));
    CHECK(!cholesky_factor(threads, nothing, 1));
    threads_destroy(threads);
}

static const struct test tests[] = {
    TEST(solves_what_it_factors),
    TEST(refuses_what_is_not_positive_definite),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
