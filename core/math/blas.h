/* OpenBLAS, loaded late.
 *
 * OpenBLAS chooses its kernels when it is loaded, and Debian's 0.3.21 takes AVX2 ("Haswell") code
 * on newer AMD chips that have AVX-512 (docs/performance.md). OPENBLAS_CORETYPE must therefore be
 * in the environment before the library is: it is set here, only where the CPU has AVX-512, and the
 * library is loaded afterwards. It runs on one thread; the pool of core/base/threads.h does the
 * rest. */
#ifndef DM_MATH_BLAS_H
#define DM_MATH_BLAS_H

#include <stdbool.h>
#include <stddef.h>

/* False when no OpenBLAS is installed: then the rest must not be called. */
bool blas_found(void);

/* C [m, n] (ldc) = alpha A B + beta C, row-major; B is [n, k] (ldb) and transposed when b_is_rows,
 * else [k, n] (ldb). A [m, k] (lda). */
void blas_product(bool b_is_rows, size_t m, size_t n, size_t k, float alpha, const float *a,
                  size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* "OpenBLAS 0.3.21 (SkylakeX)" */
const char *blas_name(void);

#endif
