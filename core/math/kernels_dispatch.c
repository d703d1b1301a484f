#include "core/math/kernels.h"
#include "core/math/kernels_level.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct kernels_level *chosen;

const struct kernels_level *kernels_find(const char *name)
{
#if defined(__x86_64__)
    if (strcmp(name, "avx512") == 0) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
                   ? &kernels_avx512
                   : NULL;
    }
    if (strcmp(name, "avx512bf16") == 0) {
        return kernels_avx512bf16();
    }
    if (strcmp(name, "avx2") == 0) { /* every CPU with AVX2 and FMA has F16C */
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kernels_avx2
                                                                               : NULL;
    }
#endif
    if (strcmp(name, "openblas") == 0) {
        return kernels_openblas();
    }
    return strcmp(name, "plain") == 0 ? &kernels_plain : NULL;
}

static void choose(void)
{
    static const char *const best_first[] = {"avx512", "avx2", "plain"};
#if defined(__x86_64__)
    /* Twice as fast as fp32 on AMD's, half as fast on Intel's (docs/performance.md). */
    __builtin_cpu_init();
    bool dot_products = __builtin_cpu_is("amd");
#else
    bool dot_products = false;
#endif
    const char *wanted = getenv("DARKMATTER_KERNELS");
    chosen = wanted ? kernels_find(wanted) : NULL;
    if (!chosen && dot_products) {
        chosen = kernels_find("avx512bf16");
    }
    for (size_t i = 0; !chosen; i++) {
        chosen = kernels_find(best_first[i]);
    }
}

const struct kernels_level *kernels_level(void)
{
    (void)pthread_once(&once, choose);
    return chosen;
}

const struct kernels_level *kernels_use(const struct kernels_level *level)
{
    const struct kernels_level *before = kernels_level();
    chosen = level;
    return before;
}

const char *kernel_backend(void)
{
    return kernels_level()->words;
}
