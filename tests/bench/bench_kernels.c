/* How near the kernels come to what this machine can do. Every line is measured in turns with the
 * machine's own peaks (fp32 multiply-adds, reads from memory), so that the fractions stand even
 * where other work or a neighbour on the host changes the speed from minute to minute.
 *
 *     build/release/tests/bench/bench_kernels [TURNS] [WORD...]     a line must contain every WORD
 *
 * Weights are cold: successive products read other places of FOOTPRINT bytes. */
#include "core/base/threads.h"
#include "core/math/kernels.h"
#include "core/math/kernels_level.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FOOTPRINT ((size_t)640 << 20)
#define MAX_TURNS 99

static struct threads *threads;
static unsigned char *memory;
static float *x, *y;
static size_t place;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double u = *(const double *)a, v = *(const double *)b;
    return (u > v) - (u < v);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_size);
    return values[n / 2];
}

/* --- peaks ------------------------------------------------------------------------------------ */

#define PEAK_STEPS 200000
#define CHAINS 12

#if defined(__x86_64__)
#include <immintrin.h>

/* 12 independent chains hide the latency of 4 on two ports. */
__attribute__((target("avx512f"))) static void peak_avx512(void *sink, size_t part, int worker)
{
    (void)part;
    __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f), s[CHAINS];
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) {
        s[c] = _mm512_set1_ps((float)c);
    }
    for (int i = 0; i < PEAK_STEPS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            s[c] = _mm512_fmadd_ps(s[c], a, b);
        }
    }
    __m512 sum = s[0];
#pragma GCC unroll 12
    for (int c = 1; c < CHAINS; c++) {
        sum = _mm512_add_ps(sum, s[c]);
    }
    ((volatile float *)sink)[worker] = _mm512_reduce_add_ps(sum);
}

__attribute__((target("avx512f,avx512bf16"))) static void peak_bf16(void *sink, size_t part,
                                                                    int worker)
{
    (void)part;
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
    __m512 s[CHAINS];
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) {
        s[c] = _mm512_set1_ps((float)c);
    }
    for (int i = 0; i < PEAK_STEPS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            s[c] = _mm512_dpbf16_ps(s[c], a, a);
        }
    }
    __m512 sum = s[0];
#pragma GCC unroll 12
    for (int c = 1; c < CHAINS; c++) {
        sum = _mm512_add_ps(sum, s[c]);
    }
    ((volatile float *)sink)[worker] = _mm512_reduce_add_ps(sum);
}

__attribute__((target("avx2,fma"))) static void peak_avx2(void *sink, size_t part, int worker)
{
    (void)part;
    __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f), s[CHAINS];
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) {
        s[c] = _mm256_set1_ps((float)c);
    }
    for (int i = 0; i < PEAK_STEPS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            s[c] = _mm256_fmadd_ps(s[c], a, b);
        }
    }
    float lanes[8];
    __m256 sum = s[0];
#pragma GCC unroll 12
    for (int c = 1; c < CHAINS; c++) {
        sum = _mm256_add_ps(sum, s[c]);
    }
    _mm256_storeu_ps(lanes, sum);
    ((volatile float *)sink)[worker] = lanes[worker % 8];
}
#endif

static double run_peak(void (*part)(void *, size_t, int), double flops_a_part)
{
    static float sink[THREADS_MAX];
    size_t parts = 2 * (size_t)threads_count(threads);
    double start = now();
    threads_run(threads, parts, part, sink);
    return flops_a_part * (double)parts / (now() - start);
}

/* Multiply-adds of the CPU's widest fp32 vectors, in FLOP/s; 0 where it is not known. */
static double fp32_peak(void)
{
#if defined(__x86_64__)
    if (kernels_find("avx512")) {
        return run_peak(peak_avx512, 2.0 * 16 * CHAINS * PEAK_STEPS);
    }
    if (kernels_find("avx2")) {
        return run_peak(peak_avx2, 2.0 * 8 * CHAINS * PEAK_STEPS);
    }
#endif
    return 0;
}

static double bf16_peak(void)
{
#if defined(__x86_64__)
    if (kernels_find("avx512") && __builtin_cpu_supports("avx512bf16")) {
        return run_peak(peak_bf16, 4.0 * 16 * CHAINS * PEAK_STEPS);
    }
#endif
    return 0;
}

#define READ_PART ((size_t)256 << 10)

static void read_part(void *argument, size_t part, int worker)
{
    static float sink[THREADS_MAX];
    const float *p = (const float *)argument + part * (READ_PART / sizeof(float));
    ((volatile float *)sink)[worker] = kernel_dot(p, p, READ_PART / sizeof(float));
}

static unsigned char *next_place(size_t bytes)
{
    place = place + bytes > FOOTPRINT ? 0 : place;
    unsigned char *at = memory + place;
    place += (bytes + 4095) / 4096 * 4096;
    return at;
}

/* Bytes read per second, every thread reading. */
static double read_peak(void)
{
    size_t parts = ((size_t)64 << 20) / READ_PART;
    unsigned char *at = next_place(parts * READ_PART);
    double start = now();
    threads_run(threads, parts, read_part, at);
    return (double)(parts * READ_PART) / (now() - start);
}

/* --- products --------------------------------------------------------------------------------- */

struct shape {
    const char *name;
    size_t k, n;
    bool columns;
};

static void measure(const struct shape *shape, enum dtype dtype, size_t m, size_t turns)
{
    struct tensor w = {.dtype = dtype, .n_dims = 2, .shape = {shape->n, shape->k, 1, 1}};
    if (shape->columns) {
        w.shape[0] = shape->k;
        w.shape[1] = shape->n;
    }
    double bytes = (double)tensor_bytes(&w);
    double flops = 2.0 * (double)m * (double)shape->k * (double)shape->n;
    double rate[MAX_TURNS], of_peak[MAX_TURNS], of_reads[MAX_TURNS];
    double best_peak = 1, best_reads = 1;
    for (size_t t = 0; t < turns; t++) {
        double peak = fp32_peak(), reads = read_peak();
        best_peak = peak > best_peak ? peak : best_peak;
        best_reads = reads > best_reads ? reads : best_reads;
        size_t calls = m > 8 ? 1 : 4;
        double start = now();
        for (size_t i = 0; i < calls; i++) {
            w.data = next_place(tensor_bytes(&w));
            if (shape->columns) {
                kernel_matmul_columns(threads, x, m, &w, 0, shape->n, y, shape->n);
            } else {
                kernel_matmul(threads, x, m, &w, y);
            }
        }
        double seconds = (now() - start) / (double)calls;
        rate[t] = flops / seconds;
        of_peak[t] = peak > 0 ? rate[t] / peak : 0;
        of_reads[t] = bytes / seconds / reads;
    }
    double r = median(rate, turns);
    printf("%-8s k=%-4zu n=%-5zu %-4s m=%-3zu %8.3f ms %6.1f GFLOP/s %6.1f GB/s;  of the peaks: "
           "%5.1f %% fp32, %5.1f %% reads; best: %5.1f %% fp32, %5.1f %% reads\n",
           shape->name, shape->k, shape->n, dtype_name(dtype), m, 1e3 * flops / r, r / 1e9,
           bytes * r / flops / 1e9, 100 * median(of_peak, turns), 100 * median(of_reads, turns),
           100 * rate[turns - 1] / best_peak, 100 * rate[turns - 1] * bytes / flops / best_reads);
    fflush(stdout);
}

static bool wanted(const char *line, int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        if (!strstr(line, argv[i])) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {{"gate/up", 2304, 9216, false},
                                          {"down", 9216, 2304, false},
                                          {"q", 2304, 2048, false},
                                          {"columns", 2304, 16384, true}};
    static const size_t rows[] = {1, 8, 32, 128, 512};
    static const enum dtype dtypes[] = {DTYPE_BF16, DTYPE_F32};
    struct status st = {0};
    size_t turns = argc > 1 ? strtoul(argv[1], NULL, 10) : 5;
    turns = turns < 1 ? 1 : turns > MAX_TURNS ? MAX_TURNS : turns;
    if (threads_create(&threads, 0, &st)) {
        fprintf(stderr, "%s\n", st.message);
        return 1;
    }
    memory = aligned_alloc(4096, FOOTPRINT + 4096);
    x = aligned_alloc(64, (size_t)512 * 9216 * sizeof *x);
    y = aligned_alloc(64, (size_t)512 * 16384 * sizeof *y);
    if (!memory || !x || !y) {
        fprintf(stderr, "%zu MiB of memory are needed\n", (FOOTPRINT >> 20) + 64);
        return 1;
    }
    uint32_t seed = 1;
    for (size_t i = 0; i < FOOTPRINT / 4; i++) { /* as F32 and as BF16 numbers around 0.01 */
        seed = seed * 1664525u + 1013904223u;
        uint32_t bits = 0x3c003c00u | (seed & 0x807f807fu);
        memcpy(memory + 4 * i, &bits, 4);
    }
    for (size_t i = 0; i < (size_t)512 * 9216; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    double fp32[9], bf16[9], reads[9];
    for (size_t i = 0; i < 9; i++) {
        fp32[i] = fp32_peak();
        bf16[i] = bf16_peak();
        reads[i] = read_peak();
    }
    printf("%s, %d threads; peaks: fp32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, reads %.1f GB/s\n",
           kernel_backend(), threads_count(threads), median(fp32, 9) / 1e9, median(bf16, 9) / 1e9,
           median(reads, 9) / 1e9);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (size_t d = 0; d < 2; d++) {
            for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
                char line[80];
                snprintf(line, sizeof line, "%s %s m=%zu.", shapes[s].name, dtype_name(dtypes[d]),
                         rows[r]);
                if (wanted(line, argc, argv)) {
                    measure(&shapes[s], dtypes[d], rows[r], turns);
                }
            }
        }
    }
    free(y);
    free(x);
    free(memory);
    threads_destroy(threads);
    return 0;
}
