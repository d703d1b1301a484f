#include "core/math/blas.h"
#include "tests/test.h"

enum { M = 5, N = 7, K_MAX = 67, LD = 70 };

static float a[M * LD], b[K_MAX * LD], c[M * LD], before[M * LD];

static void fill(void)
{
    unsigned seed = 3;
    float *all[] = {a, b, c};
    size_t sizes[] = {M * LD, K_MAX * LD, M * LD};
    for (int i = 0; i < 3; i++) {
        for (size_t j = 0; j < sizes[i]; j++) {
            seed = seed * 1664525u + 1013904223u;
            all[i][j] = (float)(seed >> 8) / (float)(1u << 24) - 0.5f;
        }
    }
    memcpy(before, c, sizeof c);
}

/* Both layouts of B, leading dimensions wider than the matrices, every sum in double. */
static void multiplies_as_the_formula_says(void)
{
    if (!blas_found()) {
        SKIP("OpenBLAS is not installed");
    }
    static const size_t depths[] = {1, 8, 67};
    static const float factors[][2] = {{1, 0}, {0.5f, 0}, {1, 1}, {-2, 0.25f}};
    for (int run = 0; run < 24; run++) {
        bool b_is_rows = run % 2;
        size_t k = depths[run / 2 % 3];
        float alpha = factors[run / 6][0], beta = factors[run / 6][1];
        fill();
        blas_product(b_is_rows, M, N, k, alpha, a, LD - 1, b, LD, beta, c, LD - 2);
        for (size_t i = 0; i < M; i++) {
            for (size_t j = 0; j < N; j++) {
                double sum = 0;
                for (size_t l = 0; l < k; l++) {
                    sum += (double)a[i * (LD - 1) + l] *
                           (double)(b_is_rows ? b[j * LD + l] : b[l * LD + j]);
                }
                size_t at = i * (LD - 2) + j;
                CHECK_NEAR(c[at], (double)alpha * sum + (double)beta * (double)before[at], 1e-5);
            }
            for (size_t j = N; j < LD - 2 && i + 1 < M; j++) {
                CHECK(c[i * (LD - 2) + j] == before[i * (LD - 2) + j]); /* between the rows */
            }
        }
    }
}

/* beta 0 means that C's old contents do not count, whatever they are. */
static void overwrites_what_is_not_a_number(void)
{
    if (!blas_found()) {
        SKIP("OpenBLAS is not installed");
    }
    fill();
    for (size_t i = 0; i < M * LD; i++) {
        c[i] = NAN;
    }
    blas_product(true, M, N, 9, 1, a, LD, b, LD, 0, c, LD);
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < N; j++) {
            CHECK(isfinite(c[i * LD + j]));
        }
    }
}

static void says_what_it_uses(void)
{
    if (!blas_found()) {
        SKIP("OpenBLAS is not installed");
    }
    CHECK_CONTAINS(blas_name(), "OpenBLAS");
}

static const struct test tests[] = {
    TEST(multiplies_as_the_formula_says),
    TEST(overwrites_what_is_not_a_number),
    TEST(says_what_it_uses),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
