/* Kernels against sums in double, for every type of weight, aligned or not, few rows and many. */
#include "core/math/kernels.h"
#include "tests/test.h"

#include <stdint.h>
#include <stdlib.h>

static uint32_t seed = 1;

static float noise(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

/* n numbers that every type holds exactly enough: stored in the type, and as floats. */
struct weight {
    struct tensor t;
    unsigned char *memory;
    float *values;
};

static struct weight make(enum dtype dtype, size_t rows, size_t cols, size_t misalign)
{
    struct weight w = {.t = {.dtype = dtype, .n_dims = 2, .shape = {rows, cols, 1, 1}}};
    size_t n = rows * cols, size = dtype_size(dtype);
    w.memory = malloc(n * size + 64);
    w.values = malloc(n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        float x = noise();
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        uint16_t half = (uint16_t)(bits >> 16);
        if (dtype == DTYPE_F16) {
            half = (uint16_t)(0x3800u | (seed & 0x83FFu)); /* +-0.5 .. 1 */
        }
        const void *from = dtype == DTYPE_F32 ? (const void *)&x : (const void *)&half;
        memcpy(w.memory + misalign + i * size, from, size);
    }
    w.t.data = w.memory + misalign;
    tensor_widen(&w.t, 0, n, w.values);
    return w;
}

static void drop(struct weight *w)
{
    free(w->memory);
    free(w->values);
}

static const enum dtype dtypes_tested[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
static const size_t row_counts[] = {1, 3, 8, 9, 40};

static void matmul_equals_the_sum_in_double(void)
{
    struct status st = {0};
    struct threads *threads;
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    const size_t k = 1100, n = 700;
    for (size_t d = 0; d < 3; d++) {
        for (size_t m = 0; m < 5; m++) {
            for (size_t misalign = 0; misalign < 2; misalign++) {
                size_t rows = row_counts[m];
                struct weight w = make(dtypes_tested[d], n, k, misalign);
                struct weight x = make(DTYPE_F32, rows, k, 0);
                float *y = malloc(rows * n * sizeof *y);
                kernel_matmul(threads, x.values, rows, &w.t, y);
                double worst = 0;
                for (size_t i = 0; i < rows * n; i++) {
                    double sum = 0;
                    for (size_t j = 0; j < k; j++) {
                        sum += (double)x.values[i / n * k + j] * (double)w.values[i % n * k + j];
                    }
                    worst = fmax(worst, fabs(sum - (double)y[i]));
                }
                CHECK_NEAR(worst, 0, 1e-4);
                free(y);
                drop(&w);
                drop(&x);
            }
        }
    }
    threads_destroy(threads);
}

static void columns_equal_the_sum_in_double(void)
{
    struct status st = {0};
    struct threads *threads;
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    const size_t k = 1700, n = 900, first = 13, cols = 801, ldy = 850;
    for (size_t d = 0; d < 3; d++) {
        for (size_t m = 0; m < 5; m++) {
            for (size_t misalign = 0; misalign < 2; misalign++) {
                size_t rows = row_counts[m];
                struct weight w = make(dtypes_tested[d], k, n, misalign);
                struct weight x = make(DTYPE_F32, rows, k, 0);
                float *y = malloc(rows * ldy * sizeof *y);
                kernel_matmul_columns(threads, x.values, rows, &w.t, first, cols, y, ldy);
                double worst = 0;
                for (size_t r = 0; r < rows; r++) {
                    for (size_t c = 0; c < cols; c++) {
                        double sum = 0;
                        for (size_t j = 0; j < k; j++) {
                            sum +=
                                (double)x.values[r * k + j] * (double)w.values[j * n + first + c];
                        }
                        worst = fmax(worst, fabs(sum - (double)y[r * ldy + c]));
                    }
                }
                CHECK_NEAR(worst, 0, 2e-4);
                free(y);
                drop(&w);
                drop(&x);
            }
        }
    }
    threads_destroy(threads);
}

static void the_number_of_threads_changes_no_bit(void)
{
    struct status st = {0};
    const size_t k = 512, n = 3000, rows = 20;
    struct weight w = make(DTYPE_BF16, n, k, 0);
    struct weight x = make(DTYPE_F32, rows, k, 0);
    float *y[2];
    for (int i = 0; i < 2; i++) {
        struct threads *threads;
        REQUIRE_OK(threads_create(&threads, i ? 3 : 1, &st), st);
        y[i] = malloc(rows * n * sizeof(float));
        kernel_matmul(threads, x.values, rows, &w.t, y[i]);
        threads_destroy(threads);
    }
    CHECK(memcmp(y[0], y[1], rows * n * sizeof(float)) == 0);
    free(y[0]);
    free(y[1]);
    drop(&w);
    drop(&x);
}

static void adds_rows_of_any_type(void)
{
    for (size_t d = 0; d < 3; d++) {
        struct weight w = make(dtypes_tested[d], 5, 2500, 1);
        float y[2500];
        for (size_t i = 0; i < 2500; i++) {
            y[i] = (float)i;
        }
        kernel_add_row(y, -1.5f, &w.t, 3);
        for (size_t i = 0; i < 2500; i++) {
            CHECK_NEAR(y[i], (double)i - 1.5 * (double)w.values[3 * 2500 + i], 1e-3);
        }
        drop(&w);
    }
}

static void norms_as_the_formula_says(void)
{
    struct status st = {0};
    struct threads *threads;
    REQUIRE_OK(threads_create(&threads, 1, &st), st);
    float x[4] = {1, -2, 3, -4}, gain[4] = {1, 2, 0.5f, -1}, y[4];
    kernel_rmsnorm(threads, x, 1, 4, gain, 1e-6f, y);
    double rms = sqrt(30.0 / 4 + 1e-6);
    for (int i = 0; i < 4; i++) {
        CHECK_NEAR(y[i], (double)x[i] / rms * (double)gain[i], 1e-6);
    }
    kernel_rmsnorm(threads, x, 2, 2, NULL, 0.0f, x); /* in place, without gain */
    CHECK_NEAR(x[0], 1 / sqrt(2.5), 1e-6);
    CHECK_NEAR(x[3], -4 / sqrt(12.5), 1e-6);
    threads_destroy(threads);
}

static void rope_turns_the_halves(void)
{
    float x[4] = {1, 2, 3, 4};
    float c[2] = {0, 1}, s[2] = {1, 0}; /* a quarter turn, and none */
    kernel_rope(x, 1, 1, 4, c, s);
    CHECK_NEAR(x[0], -3, 0);
    CHECK_NEAR(x[2], 1, 0);
    CHECK_NEAR(x[1], 2, 0);
    CHECK_NEAR(x[3], 4, 0);
}

static void softmax_and_logsumexp_bear_large_numbers(void)
{
    float x[3] = {1000, 1001, -INFINITY};
    CHECK_NEAR(kernel_logsumexp(x, 3), 1001 + log1p(exp(-1)), 1e-4);
    kernel_softmax(x, 3);
    CHECK_NEAR(x[1], 1 / (1 + exp(-1)), 1e-6);
    CHECK_NEAR(x[2], 0, 0);
}

static void gelu_and_softcap_are_the_tanh_forms(void)
{
    struct status st = {0};
    struct threads *threads;
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    static float x[10000], y[10000];
    for (size_t i = 0; i < 10000; i++) {
        x[i] = y[i] = (float)i / 500.0f - 10.0f;
    }
    kernel_gelu(threads, x, 10000);
    for (size_t i = 0; i < 10000; i++) {
        double g = (double)y[i];
        CHECK_NEAR(x[i], 0.5 * g * (1 + tanh(sqrt(2 / M_PI) * (g + 0.044715 * g * g * g))), 1e-5);
    }
    kernel_softcap_all(threads, y, 10000, 2.0f);
    CHECK_NEAR(y[0], 2 * tanh(-5), 1e-6);
    CHECK_NEAR(y[9999], 2 * tanh(9.998 / 2), 1e-5);
    float z = 7.0f;
    kernel_softcap(&z, 1, 0.0f);
    CHECK_NEAR(z, 7, 0);
    threads_destroy(threads);
}

static void openblas_takes_its_avx512_kernels_where_the_cpu_has_them(void)
{
    const char *backend = kernel_backend();
    CHECK(strlen(backend) > 0);
    if (strncmp(backend, "OpenBLAS", 8) != 0) {
        SKIP("OpenBLAS is not installed");
    }
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) {
        CHECK_CONTAINS(backend, "SkylakeX");
    }
#endif
}

static const struct test tests[] = {
    TEST(matmul_equals_the_sum_in_double),
    TEST(columns_equal_the_sum_in_double),
    TEST(the_number_of_threads_changes_no_bit),
    TEST(adds_rows_of_any_type),
    TEST(norms_as_the_formula_says),
    TEST(rope_turns_the_halves),
    TEST(softmax_and_logsumexp_bear_large_numbers),
    TEST(gelu_and_softcap_are_the_tanh_forms),
    TEST(openblas_takes_its_avx512_kernels_where_the_cpu_has_them),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
