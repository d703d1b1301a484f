#include "core/math/blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

typedef void sgemm_function(int order, int transpose_a, int transpose_b, int m, int n, int k,
                            float alpha, const float *a, int lda, const float *b, int ldb,
                            float beta, float *c, int ldc);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sgemm_function *sgemm;
static char name[128];

static bool cpu_has_avx512(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

static void load(void)
{
    if (cpu_has_avx512()) {
        (void)setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
    }
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
    /* Kept until the process ends: closing it would race with threads that are in it. */
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return;
    }
    /* POSIX lets dlsym's pointer be used as a function; ISO C has no cast for it. */
    *(void **)&sgemm = dlsym(library, "cblas_sgemm");
    char *(*config)(void) = NULL;
    char *(*core)(void) = NULL;
    *(void **)&config = dlsym(library, "openblas_get_config");
    *(void **)&core = dlsym(library, "openblas_get_corename");
    if (sgemm) {
        (void)snprintf(name, sizeof name, "%.16s (%.32s)", config ? config() : "OpenBLAS",
                       core ? core() : "unknown kernels");
    }
}

bool blas_found(void)
{
    (void)pthread_once(&once, load);
    return sgemm != NULL;
}

void blas_product(bool b_is_rows, size_t m, size_t n, size_t k, float alpha, const float *a,
                  size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    sgemm(ROW_MAJOR, NO_TRANSPOSE, b_is_rows ? TRANSPOSE : NO_TRANSPOSE, (int)m, (int)n, (int)k,
          alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

const char *blas_name(void)
{
    (void)pthread_once(&once, load);
    return name;
}
