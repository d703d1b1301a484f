#include "core/math/peaks.h"

#include "core/base/clock.h"
#include "core/math/kernels_level.h"

#define STEPS 200000
#define TRIES 4   /* the best counts: after a pause threads are still being brought to their CPUs */
#define CHAINS 12 /* independent: they hide a latency of 4 on two ports */
#define READ_PART ((size_t)256 << 10)

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 12")
#endif

/* A chain a register, adding `step` (of s[c], a and b) over and over; the sum goes to the worker's
 * float of `sink`, so that none of it can be left out. */
#define PEAK(name, features, type, zero, step, add, total)                                  \
    __attribute__((target(features))) static void name(void *sink, size_t part, int worker) \
    {                                                                                       \
        type s[CHAINS];                                                                     \
        UNROLL for (int c = 0; c < CHAINS; c++)                                             \
        {                                                                                   \
            s[c] = zero((float)part + (float)c);                                            \
        }                                                                                   \
        for (int i = 0; i < STEPS; i++) {                                                   \
            UNROLL for (int c = 0; c < CHAINS; c++)                                         \
            {                                                                               \
                s[c] = step;                                                                \
            }                                                                               \
        }                                                                                   \
        UNROLL for (int c = 1; c < CHAINS; c++)                                             \
        {                                                                                   \
            s[0] = add(s[0], s[c]);                                                         \
        }                                                                                   \
        ((volatile float *)sink)[worker] = total(s[0]);                                     \
    }

PEAK(fp32_avx512, "avx512f", __m512, _mm512_set1_ps,
     _mm512_fmadd_ps(s[c], _mm512_set1_ps(0.999f), _mm512_set1_ps(0.001f)), _mm512_add_ps,
     _mm512_reduce_add_ps)

#define PAIRS ((__m512bh)_mm512_set1_epi32(0x3f003e80)) /* 0.5 and 0.25 */
PEAK(bf16_avx512, "avx512f,avx512bf16", __m512, _mm512_set1_ps,
     _mm512_dpbf16_ps(s[c], PAIRS, PAIRS), _mm512_add_ps, _mm512_reduce_add_ps)

PEAK(fp32_avx2, "avx2,fma", __m256, _mm256_set1_ps,
     _mm256_fmadd_ps(s[c], _mm256_set1_ps(0.999f), _mm256_set1_ps(0.001f)), _mm256_add_ps,
     _mm256_cvtss_f32)

__attribute__((target("avx512f"))) static float read_avx512(const unsigned char *p, size_t bytes)
{
    __m512i s[4] = {0};
    for (size_t i = 0; i < bytes; i += 256) {
        UNROLL for (int c = 0; c < 4; c++)
        {
            s[c] = _mm512_xor_si512(s[c], _mm512_load_si512(p + i + 64 * (size_t)c));
        }
    }
    s[0] = _mm512_xor_si512(_mm512_xor_si512(s[0], s[1]), _mm512_xor_si512(s[2], s[3]));
    return (float)_mm512_reduce_add_epi32(s[0]);
}
#endif

static double rate_of(struct threads *threads, void (*part)(void *, size_t, int), double each)
{
    static float sink[THREADS_MAX];
    size_t parts = 2 * (size_t)threads_count(threads);
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        double start = clock_seconds();
        threads_run(threads, parts, part, sink);
        double rate = each * (double)parts / (clock_seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

double peak_fp32(struct threads *threads)
{
#if defined(__x86_64__)
    if (kernels_find("avx512")) {
        return rate_of(threads, fp32_avx512, 2.0 * 16 * CHAINS * STEPS);
    }
    if (kernels_find("avx2")) {
        return rate_of(threads, fp32_avx2, 2.0 * 8 * CHAINS * STEPS);
    }
#endif
    (void)rate_of;
    (void)threads;
    return 0;
}

double peak_bf16(struct threads *threads)
{
#if defined(__x86_64__)
    if (kernels_avx512bf16()) {
        return rate_of(threads, bf16_avx512, 4.0 * 16 * CHAINS * STEPS);
    }
#endif
    (void)threads;
    return 0;
}

static void read_part(void *argument, size_t part, int worker)
{
    static float sink[THREADS_MAX];
    const unsigned char *p = (const unsigned char *)argument + part * READ_PART;
#if defined(__x86_64__)
    if (kernels_find("avx512")) {
        ((volatile float *)sink)[worker] = read_avx512(p, READ_PART);
        return;
    }
#endif
    const struct kernels_level *level = kernels_level();
    const float *floats = (const float *)(const void *)p;
    ((volatile float *)sink)[worker] = level->dot(floats, floats, READ_PART / sizeof(float));
}

double peak_read(struct threads *threads, const void *memory, size_t bytes)
{
    size_t parts = bytes / READ_PART;
    double start = clock_seconds();
    threads_run(threads, parts, read_part, (void *)(uintptr_t)memory);
    return (double)(parts * READ_PART) / (clock_seconds() - start);
}
