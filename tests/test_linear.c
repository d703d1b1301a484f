#include "core/lens/linear.h"

#include "core/base/memory.h"
#include "tests/test.h"

enum { D = 6, M = 3, ROWS = 400 };

static float next(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 16777216.0f - 0.5f;
}

/* e = A x + b + noise * something that x does not know; x has a mean and one large number, as the
 * residual stream has. */
static void make(float *x, float *e, float noise)
{
    unsigned seed = 11, other = 5;
    float a[D * M];
    for (size_t i = 0; i < D * M; i++) {
        a[i] = next(&other);
    }
    for (size_t t = 0; t < ROWS; t++) {
        for (size_t i = 0; i < D; i++) {
            x[t * D + i] = next(&seed) * (i == 2 ? 300.0f : 1.0f) + (float)i;
        }
        for (size_t j = 0; j < M; j++) {
            float sum = 2.0f - (float)j;
            for (size_t i = 0; i < D; i++) {
                sum += a[i * M + j] * x[t * D + i] * (i == 2 ? 0.01f : 1.0f);
            }
            e[t * M + j] = sum + noise * next(&seed);
        }
    }
}

static void fit(const float *x, const float *e, size_t fitted, int threads_count, double *r2,
                double *last)
{
    struct linear l;
    struct threads *threads;
    struct status st;
    REQUIRE_OK(threads_create(&threads, threads_count, &st), st);
    REQUIRE_OK(linear_create(&l, D, M, &st), st);
    linear_add(&l, threads, false, x, e, fitted / 2);
    linear_add(&l, threads, false, x + fitted / 2 * D, e + fitted / 2 * M, fitted - fitted / 2);
    linear_add(&l, threads, true, x + fitted * D, e + fitted * M, ROWS - fitted);
    CHECK(linear_rows(&l, false) == fitted && linear_rows(&l, true) == ROWS - fitted);
    REQUIRE_OK(linear_fit(&l, threads, r2, last, &st), st);
    linear_free(&l);
    threads_destroy(threads);
}

static void finds_a_linear_function_whole(void)
{
    static float x[ROWS * D], e[ROWS * M];
    double r2, last, again, again_last;
    make(x, e, 0.0f);
    fit(x, e, 300, 1, &r2, &last);
    CHECK_NEAR(r2, 1.0, 1e-9);
    CHECK_NEAR(last, 1.0, 1e-9);
    make(x, e, 1.0f);
    fit(x, e, 300, 1, &r2, &last);
    fit(x, e, 300, 3, &again, &again_last);
    CHECK(r2 > 0.2 && r2 < 0.95 && memcmp(&r2, &again, sizeof r2) == 0 &&
          memcmp(&last, &again_last, sizeof last) == 0);
}

/* Gauss on the normal equations with an intercept, and the residuals row by row. */
static void agrees_with_residuals_counted_row_by_row(void)
{
    static float x[ROWS * D], e[ROWS * M];
    enum { FITTED = 300, C = D + 1 };
    double r2, last, n[C * C] = {0}, b[C * M] = {0};
    make(x, e, 1.0f);
    fit(x, e, FITTED, 2, &r2, &last);
    for (size_t t = 0; t < FITTED; t++) {
        for (size_t i = 0; i < C; i++) {
            double xi = i < D ? (double)x[t * D + i] : 1.0;
            for (size_t k = 0; k < C; k++) {
                n[i * C + k] += xi * (k < D ? (double)x[t * D + k] : 1.0);
            }
            for (size_t j = 0; j < M; j++) {
                b[i * M + j] += xi * (double)e[t * M + j];
            }
        }
    }
    for (size_t p = 0; p < C; p++) { /* Gauss-Jordan; the matrix is positive definite */
        for (size_t i = 0; i < C; i++) {
            double f = i == p ? 0.0 : n[i * C + p] / n[p * C + p];
            for (size_t k = 0; k < C; k++) {
                n[i * C + k] -= f * n[p * C + k];
            }
            for (size_t j = 0; j < M; j++) {
                b[i * M + j] -= f * b[p * M + j];
            }
        }
    }
    double residual[2] = {0}, variance[2] = {0};
    for (size_t j = 0; j < M; j++) {
        double mean = 0.0;
        for (size_t t = FITTED; t < ROWS; t++) {
            mean += (double)e[t * M + j] / (ROWS - FITTED);
        }
        for (size_t t = FITTED; t < ROWS; t++) {
            double predicted = b[D * M + j] / n[D * C + D];
            for (size_t i = 0; i < D; i++) {
                predicted += b[i * M + j] / n[i * C + i] * (double)x[t * D + i];
            }
            double r = (double)e[t * M + j] - predicted, v = (double)e[t * M + j] - mean;
            residual[j == M - 1] += r * r;
            variance[j == M - 1] += v * v;
        }
    }
    CHECK_NEAR(r2, 1.0 - residual[0] / variance[0], 1e-6);
    CHECK_NEAR(last, 1.0 - residual[1] / variance[1], 1e-6);
}

static void knows_nothing_from_too_few_rows(void)
{
    static float x[ROWS * D], e[ROWS * M];
    double r2, last;
    make(x, e, 0.0f);
    fit(x, e, 2 * (D + 1) - 1, 1, &r2, &last);
    CHECK(isnan(r2) && isnan(last));
    fit(x, e, 2 * (D + 1), 1, &r2, &last);
    CHECK(!isnan(r2) && !isnan(last));
    fit(x, e, ROWS - 1, 1, &r2, &last);
    CHECK(isnan(r2));
    memset(x, 0, sizeof x); /* no variance at all */
    fit(x, e, 300, 1, &r2, &last);
    CHECK(isnan(r2));
}

static const struct test tests[] = {
    TEST(finds_a_linear_function_whole),
    TEST(agrees_with_residuals_counted_row_by_row),
    TEST(knows_nothing_from_too_few_rows),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
