/* OpenBLAS for products of many rows, the rest as in the best level of our own. Only where
 * DARKMATTER_KERNELS asks for it: a row's last bits then depend on how many rows it is multiplied
 * with. It is what the other levels are measured against. */
#include "core/math/blas.h"
#include "core/math/kernels_level.h"

#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct kernels_level level;
static const struct kernels_level *base;

/* Fewer rows: OpenBLAS would first copy the weights. */
#define FEW_ROWS 8

static bool fits(const struct kernels_piece *p)
{
    return p->rows > FEW_ROWS && p->dtype == DTYPE_F32 && (uintptr_t)p->w % sizeof(float) == 0;
}

static void product(const struct kernels_piece *p)
{
    if (fits(p)) {
        blas_product(true, p->rows, p->n, p->k, 1.0f, p->x, p->ldx, p->w, p->ldw / sizeof(float),
                     p->add ? 1.0f : 0.0f, p->y, p->ldy);
    } else {
        base->product(p);
    }
}

static void columns(const struct kernels_piece *p)
{
    if (fits(p)) {
        blas_product(false, p->rows, p->n, p->k, 1.0f, p->x, p->ldx, p->w, p->ldw / sizeof(float),
                     p->add ? 1.0f : 0.0f, p->y, p->ldy);
    } else {
        base->columns(p);
    }
}

static void load(void)
{
    base = kernels_find("avx512");
    base = base ? base : kernels_find("avx2");
    base = base ? base : kernels_find("plain");
    level = *base;
    level.name = "openblas";
    level.words = blas_name();
    level.product = product;
    level.columns = columns;
}

const struct kernels_level *kernels_openblas(void)
{
    (void)pthread_once(&once, load);
    return blas_found() ? &level : NULL;
}
