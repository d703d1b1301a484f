/* Kernels against sums in double, for every type of weight, aligned or not, few rows and many. */
#include "core/math/kernels.h"
#include "core/math/kernels_level.h"
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

/* The best last. */
static const char *const levels[] = {"plain", "avx2", "avx512", "avx512bf16"};
#define N_LEVELS (sizeof levels / sizeof levels[0])

enum form { ROWS, ROWS_ROUNDED, COLUMNS };

static void multiply(struct threads *threads, enum form form, const float *x, size_t rows,
                     const struct tensor *w, float *y)
{
    if (form == COLUMNS) {
        kernel_matmul_columns(threads, x, rows, w, 0, w->shape[1], y, w->shape[1]);
    } else {
        kernel_matmul_as(threads, form == ROWS ? PRECISION_EXACT : PRECISION_BF16, x, rows, w, y);
    }
}

/* Every row count and thread count against one row at a time on one thread. */
static void same_bits(enum dtype dtype, enum form form, size_t k, size_t n)
{
    static const size_t counts[] = {1, 2, 3, 5, 7, 8, 9, 31, 64, 200};
    const size_t most = 200;
    struct status st = {0};
    struct weight w = form == COLUMNS ? make(dtype, k, n, 1) : make(dtype, n, k, 1);
    struct weight x = make(DTYPE_F32, most, k, 0);
    float *want = malloc(most * n * sizeof *want), *y = malloc(most * n * sizeof *y);
    for (int t = 1; t <= 3; t++) {
        struct threads *threads;
        REQUIRE_OK(threads_create(&threads, t, &st), st);
        for (size_t r = 0; t == 1 && r < most; r++) {
            multiply(threads, form, x.values + r * k, 1, &w.t, want + r * n);
        }
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            size_t rows = counts[c], from = (most - rows) / 3; /* other neighbours, other places */
            memset(y, 0xff, rows * n * sizeof *y);
            multiply(threads, form, x.values + from * k, rows, &w.t, y);
            CHECK(memcmp(y, want + from * n, rows * n * sizeof *y) == 0);
        }
        threads_destroy(threads);
    }
    free(want);
    free(y);
    drop(&w);
    drop(&x);
}

static void a_row_has_the_same_bits_whatever_the_batch_and_the_threads(void)
{
    for (size_t l = 0; l < N_LEVELS; l++) {
        const struct kernels_level *level = kernels_find(levels[l]);
        const struct kernels_level *before = level ? kernels_use(level) : NULL;
        for (size_t d = 0; level && d < 3; d++) {
            same_bits(dtypes_tested[d], ROWS, 1171, 137);
            same_bits(dtypes_tested[d], ROWS, 45, 70);
            same_bits(dtypes_tested[d], ROWS_ROUNDED, 2411, 73);
            same_bits(dtypes_tested[d], COLUMNS, 531, 601);
        }
        if (level) {
            (void)kernels_use(before);
        }
    }
}

/* To bf16, to nearest even. */
static float rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void bf16_products_are_those_of_rounded_rows(void)
{
    static const size_t counts[] = {1, 40, 1000};
    struct status st = {0};
    struct threads *threads;
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    const size_t k = 1100, n = 9;
    for (size_t l = 0; l < N_LEVELS; l++) {
        const struct kernels_level *level = kernels_find(levels[l]);
        const struct kernels_level *before = level ? kernels_use(level) : NULL;
        for (size_t i = 0; level && i < 9; i++) {
            size_t rows = counts[i % 3];
            struct weight w = make(dtypes_tested[i / 3], n, k, 1);
            struct weight x = make(DTYPE_F32, rows, k, 0);
            float *y = malloc(rows * n * sizeof *y);
            kernel_matmul_as(threads, PRECISION_BF16, x.values, rows, &w.t, y);
            double worst = 0;
            for (size_t at = 0; at < rows * n; at++) {
                double sum = 0;
                for (size_t j = 0; j < k; j++) {
                    sum += (double)rounded(x.values[at / n * k + j]) *
                           (double)w.values[at % n * k + j];
                }
                worst = fmax(worst, fabs(sum - (double)y[at]));
            }
            CHECK_NEAR(worst, 0, 1e-4);
            free(y);
            drop(&w);
            drop(&x);
        }
        if (level) {
            (void)kernels_use(before);
        }
    }
    threads_destroy(threads);
}

/* More rows than the shared memory holds are rounded in turns. */
static void as_many_rows_as_there_are_have_the_bits_of_one(void)
{
    struct status st = {0};
    struct threads *threads;
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    const size_t k = 120000, n = 3, rows = 160;
    struct weight gate = make(DTYPE_BF16, n, k, 0), up = make(DTYPE_BF16, n, k, 0);
    struct weight x = make(DTYPE_F32, rows, k, 0);
    float g[480], y[480], g1[3], y1[3];
    REQUIRE(rows * k * sizeof(uint16_t) > THREADS_SHARED_BYTES);
    kernel_geglu(threads, PRECISION_BF16, x.values, rows, &gate.t, &up.t, g, y);
    for (size_t r = 0; r < rows; r += 53) {
        kernel_geglu(threads, PRECISION_BF16, x.values + r * k, 1, &gate.t, &up.t, g1, y1);
        CHECK(memcmp(g1, g + r * n, sizeof g1) == 0 && memcmp(y1, y + r * n, sizeof y1) == 0);
    }
    drop(&gate);
    drop(&up);
    drop(&x);
    threads_destroy(threads);
}

/* Matrices multiplied in one go against each alone; 130 and 18 rows end amid a part. */
static void each_has_the_bits_it_has_alone(bool mixed)
{
    static const size_t ns[] = {130, 18, 200}, counts[] = {1, 30, 70};
    const size_t k = 2500; /* more than a block of any level */
    struct status st = {0};
    struct threads *threads;
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    struct weight w[3], x = make(DTYPE_F32, 70, k, 0);
    float *y[3], *alone = malloc(70 * 200 * sizeof *alone);
    struct kernel_output each[3];
    for (size_t i = 0; i < 3; i++) {
        w[i] = make(mixed && i == 2 ? DTYPE_F32 : DTYPE_BF16, ns[i], k, i % 2);
        y[i] = malloc(70 * ns[i] * sizeof *y[i]);
        each[i] = (struct kernel_output){&w[i].t, y[i]};
    }
    for (size_t l = 0; l < N_LEVELS; l++) {
        const struct kernels_level *level = kernels_find(levels[l]);
        const struct kernels_level *before = level ? kernels_use(level) : NULL;
        for (size_t c = 0; level && c < 3; c++) {
            for (int p = PRECISION_EXACT; p <= PRECISION_BF16; p++) {
                kernel_matmul_each(threads, (enum precision)p, x.values, counts[c], each, 3);
                for (size_t i = 0; i < 3; i++) {
                    kernel_matmul_as(threads, (enum precision)p, x.values, counts[c], &w[i].t,
                                     alone);
                    CHECK(memcmp(alone, y[i], counts[c] * ns[i] * sizeof *alone) == 0);
                }
            }
        }
        if (level) {
            (void)kernels_use(before);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        drop(&w[i]);
        free(y[i]);
    }
    drop(&x);
    free(alone);
    threads_destroy(threads);
}

static void matrices_in_one_go_have_the_bits_of_each_alone(void)
{
    each_has_the_bits_it_has_alone(false);
    each_has_the_bits_it_has_alone(true);
}

/* In place, so that a value stands at every place of a vector; n values of which each is tried at
 * every offset. */
static void values_do_not_depend_on_their_place(void)
{
    enum { N = 61 };
    for (size_t l = 0; l < N_LEVELS; l++) {
        const struct kernels_level *level = kernels_find(levels[l]);
        for (size_t i = 0; level && i < N; i++) {
            float x = 6.0f * noise(), row[N];
            float capped = x, bent = x;
            level->softcap(&capped, 1, 3.0f);
            level->gelu(&bent, 1);
            for (size_t j = 0; j < N; j++) {
                row[j] = j == i ? x : noise();
            }
            float other[N];
            memcpy(other, row, sizeof row);
            level->softcap(row, N, 3.0f);
            level->gelu(other, N);
            CHECK(memcmp(&row[i], &capped, sizeof capped) == 0);
            CHECK(memcmp(&other[i], &bent, sizeof bent) == 0);
        }
    }
}

static void exp_and_tanh_are_right_to_a_few_parts_in_ten_million(void)
{
    for (size_t l = 0; l < N_LEVELS; l++) {
        const struct kernels_level *level = kernels_find(levels[l]);
        double worst_tanh = 0, worst_exp = 0;
        for (int i = -200000; level && i <= 200000; i++) {
            float x = (float)i * 0x1p-14f, y = x; /* -12.2 .. 12.2 */
            level->softcap(&y, 1, 1.0f);
            if (i != 0) {
                worst_tanh = fmax(worst_tanh, fabs((double)y / tanh((double)x) - 1));
            }
            /* e^-x from a softmax over {0, -x}: 1 / (1 + e^-x) */
            float two[2] = {0.0f, -fabsf(x) * 7.0f};
            double e = exp((double)two[1]);
            level->softmax(two, 2);
            worst_exp = fmax(worst_exp, e > 1e-37 ? fabs((double)two[1] / (e / (1 + e)) - 1) : 0);
        }
        CHECK_NEAR(worst_tanh, 0, 3e-7);
        CHECK_NEAR(worst_exp, 0, 3e-7);
    }
}

static void infinities_and_nans_keep_their_meaning(void)
{
    for (size_t l = 0; l < N_LEVELS; l++) {
        const struct kernels_level *level = kernels_find(levels[l]);
        if (!level) {
            continue;
        }
        float x[6] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e30f};
        level->softcap(x, 6, 30.0f);
        CHECK(x[0] == 30.0f && x[1] == -30.0f && isnan(x[2]) && x[5] == 30.0f);
        CHECK(x[3] == 0.0f && x[4] == 0.0f && !signbit(x[3]) && signbit(x[4]));
        float g[4] = {1e30f, -1e30f, NAN, 50.0f};
        level->gelu(g, 4);
        CHECK(g[0] == 1e30f && g[1] == 0.0f && isnan(g[2]) && g[3] == 50.0f);
        float s[3] = {-INFINITY, 3.0f, -500.0f};
        level->softmax(s, 3);
        CHECK(s[0] == 0.0f && s[1] == 1.0f && s[2] == 0.0f);
        float n[2] = {1.0f, NAN};
        level->softmax(n, 2);
        CHECK(isnan(n[0]) && isnan(n[1]));
    }
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
    float sum[4] = {10, 20, 30, 40};
    kernel_rmsnorm_add(threads, y, 1, 4, gain, 0.0f, y, sum);
    CHECK_NEAR(sum[0], 10.0f + y[0], 0);
    CHECK_NEAR(sum[3], 40.0f + y[3], 0);
    threads_destroy(threads);
}

static void rope_turns_the_halves(void)
{
    struct status st = {0};
    struct threads *threads;
    REQUIRE_OK(threads_create(&threads, 1, &st), st);
    float x[4] = {1, 2, 3, 4};
    float c[2] = {0, 1}, s[2] = {1, 0}; /* a quarter turn, and none */
    kernel_rope(threads, x, 1, 1, 4, c, s);
    CHECK_NEAR(x[0], -3, 0);
    CHECK_NEAR(x[2], 1, 0);
    CHECK_NEAR(x[1], 2, 0);
    CHECK_NEAR(x[3], 4, 0);
    threads_destroy(threads);
}

static void geglu_is_gelu_of_the_gate_times_up(void)
{
    struct status st = {0};
    struct threads *threads;
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    const size_t k = 70, n = 333;
    static const size_t counts[] = {1, 20};
    struct weight gate = make(DTYPE_BF16, n, k, 0), up = make(DTYPE_F32, n, k, 1);
    struct weight x = make(DTYPE_F32, 20, k, 0);
    float *g = malloc(20 * n * sizeof *g), *want = malloc(20 * n * sizeof *want);
    float *y = malloc(20 * n * sizeof *y), *u = malloc(20 * n * sizeof *u);
    for (size_t i = 0; i < 2; i++) {
        size_t all = counts[i] * n;
        kernel_geglu(threads, PRECISION_EXACT, x.values, counts[i], &gate.t, &up.t, g, y);
        kernel_matmul(threads, x.values, counts[i], &gate.t, want);
        kernel_matmul(threads, x.values, counts[i], &up.t, u);
        for (size_t j = 0; j < all; j++) {
            double z = (double)want[j];
            double gelu = 0.5 * z * (1 + tanh(sqrt(2 / M_PI) * (z + 0.044715 * z * z * z)));
            CHECK_NEAR(g[j], gelu, 1e-5);
            CHECK(y[j] == g[j] * u[j]);
        }
    }
    free(g);
    free(want);
    free(y);
    free(u);
    drop(&gate);
    drop(&up);
    drop(&x);
    threads_destroy(threads);
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
    kernels_level()->gelu(x, 10000);
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

static void the_backend_is_the_best_level_or_the_one_named(void)
{
    CHECK_STRING(kernel_backend(), kernels_level()->words);
    const char *named = getenv("DARKMATTER_KERNELS");
    if (named && kernels_find(named)) {
        CHECK_STRING(kernels_level()->name, named);
    } else if (kernels_find("avx512")) {
        CHECK_CONTAINS(kernels_level()->name, "avx512"); /* bf16 or not, as is faster */
    } else {
        CHECK(kernels_level() == kernels_find(kernels_find("avx2") ? "avx2" : "plain"));
    }
    CHECK(kernels_find("plain") != NULL);
    CHECK(kernels_find("sse9") == NULL);
    const struct kernels_level *before = kernels_use(kernels_find("plain"));
    CHECK_CONTAINS(kernel_backend(), "plain C");
    CHECK(kernels_use(before) == kernels_find("plain"));
}

static bool core_type_given; /* OPENBLAS_CORETYPE was set by whoever runs this; it is obeyed */

static void openblas_agrees_where_it_is_installed(void)
{
    const struct kernels_level *level = kernels_find("openblas");
    if (!level) {
        SKIP("OpenBLAS is not installed");
    }
    const struct kernels_level *before = kernels_use(level);
    CHECK_CONTAINS(kernel_backend(), "OpenBLAS");
#if defined(__x86_64__)
    /* Debian's chooses AVX2 on some of these CPUs unless told */
    if (kernels_find("avx512") && !core_type_given) {
        CHECK_CONTAINS(kernel_backend(), "SkylakeX");
    }
#endif
    matmul_equals_the_sum_in_double();
    columns_equal_the_sum_in_double();
    (void)kernels_use(before);
}

static const struct test tests[] = {
    TEST(matmul_equals_the_sum_in_double),
    TEST(columns_equal_the_sum_in_double),
    TEST(a_row_has_the_same_bits_whatever_the_batch_and_the_threads),
    TEST(bf16_products_are_those_of_rounded_rows),
    TEST(matrices_in_one_go_have_the_bits_of_each_alone),
    TEST(as_many_rows_as_there_are_have_the_bits_of_one),
    TEST(values_do_not_depend_on_their_place),
    TEST(exp_and_tanh_are_right_to_a_few_parts_in_ten_million),
    TEST(infinities_and_nans_keep_their_meaning),
    TEST(adds_rows_of_any_type),
    TEST(norms_as_the_formula_says),
    TEST(rope_turns_the_halves),
    TEST(geglu_is_gelu_of_the_gate_times_up),
    TEST(softmax_and_logsumexp_bear_large_numbers),
    TEST(gelu_and_softcap_are_the_tanh_forms),
    TEST(openblas_agrees_where_it_is_installed),
    TEST(the_backend_is_the_best_level_or_the_one_named),
};

int main(int argc, char **argv)
{
    core_type_given = getenv("OPENBLAS_CORETYPE") != NULL; /* before loading OpenBLAS sets it */
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
