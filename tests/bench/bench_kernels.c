/* How near the kernels come to what this machine can do. Every line is measured in turns with the
 * machine's own peaks (fp32 multiply-adds, reads from memory), so that the fractions stand even
 * where other work or a neighbour on the host changes the speed from minute to minute.
 *
 *     build/release/tests/bench/bench_kernels [TURNS] [WORD...]     a line must contain every WORD
 *
 * Weights are cold: successive products read other places of FOOTPRINT bytes. */
#include "core/base/clock.h"
#include "core/base/threads.h"
#include "core/math/kernels.h"
#include "core/math/median.h"
#include "core/math/peaks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOOTPRINT ((size_t)640 << 20)
#define MAX_TURNS 99

static struct threads *threads;
static unsigned char *memory;
static float *x, *y;
static size_t place;

static unsigned char *next_place(size_t bytes)
{
    place = place + bytes > FOOTPRINT ? 0 : place;
    unsigned char *at = memory + place;
    place += (bytes + 4095) / 4096 * 4096;
    return at;
}

static double read_peak(void)
{
    const size_t bytes = FOOTPRINT / 4;
    (void)peak_read(threads, next_place(bytes / 16), bytes / 16); /* every thread is awake */
    return peak_read(threads, next_place(bytes), bytes);
}

/* --- products --------------------------------------------------------------------------------- */

struct shape {
    const char *name;
    size_t k, n;
    bool columns;
};

static void measure(const struct shape *shape, enum dtype dtype, size_t m, enum precision precision,
                    size_t turns)
{
    struct tensor w = {.dtype = dtype, .n_dims = 2, .shape = {shape->n, shape->k, 1, 1}};
    if (shape->columns) {
        w.shape[0] = shape->k;
        w.shape[1] = shape->n;
    }
    double bytes = (double)tensor_bytes(&w);
    double flops = 2.0 * (double)m * (double)shape->k * (double)shape->n;
    double rate[MAX_TURNS], of_fp32[MAX_TURNS], of_bf16[MAX_TURNS], of_reads[MAX_TURNS];
    for (size_t t = 0; t < turns; t++) {
        double fp32 = peak_fp32(threads), bf16 = peak_bf16(threads), reads = read_peak();
        size_t calls = m > 8 ? 1 : 4;
        double start = clock_seconds();
        for (size_t i = 0; i < calls; i++) {
            w.data = next_place(tensor_bytes(&w));
            if (shape->columns) {
                kernel_matmul_columns(threads, x, m, &w, 0, shape->n, y, shape->n);
            } else {
                kernel_matmul_as(threads, precision, x, m, &w, y);
            }
        }
        double seconds = (clock_seconds() - start) / (double)calls;
        rate[t] = flops / seconds;
        of_fp32[t] = fp32 > 0 ? rate[t] / fp32 : 0;
        of_bf16[t] = bf16 > 0 ? rate[t] / bf16 : 0;
        of_reads[t] = bytes / seconds / reads;
    }
    double r = median(rate, turns);
    printf("%-8s k=%-4zu n=%-5zu %-4s %-5s m=%-3zu %8.3f ms %6.1f GFLOP/s %6.1f GB/s; %5.1f %% of "
           "fp32, %5.1f %% of bf16, %5.1f %% of reads\n",
           shape->name, shape->k, shape->n, dtype_name(dtype), precision_name(precision), m,
           1e3 * flops / r, r / 1e9, bytes * r / flops / 1e9, 100 * median(of_fp32, turns),
           100 * median(of_bf16, turns), 100 * median(of_reads, turns));
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
    static const size_t rows[] = {1, 2, 4, 8, 16, 24, 32, 64, 128, 512};
    static const struct {
        enum dtype dtype;
        enum precision precision;
    } ways[] = {
        {DTYPE_BF16, PRECISION_EXACT}, {DTYPE_BF16, PRECISION_BF16}, {DTYPE_F32, PRECISION_EXACT}};
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
        fp32[i] = peak_fp32(threads);
        bf16[i] = peak_bf16(threads);
        reads[i] = read_peak();
    }
    printf("%s, %d threads; peaks: fp32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, reads %.1f GB/s\n",
           kernel_backend(), threads_count(threads), median(fp32, 9) / 1e9, median(bf16, 9) / 1e9,
           median(reads, 9) / 1e9);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
            for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
                char line[80];
                snprintf(line, sizeof line, "%s %s %s m=%zu.", shapes[s].name,
                         dtype_name(ways[w].dtype), precision_name(ways[w].precision), rows[r]);
                bool there = !shapes[s].columns || ways[w].precision == PRECISION_EXACT;
                if (there && wanted(line, argc, argv)) {
                    measure(&shapes[s], ways[w].dtype, rows[r], ways[w].precision, turns);
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
