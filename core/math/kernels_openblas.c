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
        struct kernels_piece q = *p;
        q.packed = false;
        base->product(&q);
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

/* Rows one after the other. */
static enum dtype pack(const struct kernels_piece *p, void *to)
{
    for (size_t row = 0; row < p->n; row++) {
        base->widen(p->dtype, (const unsigned char *)p->w + row * p->ldw, p->k,
                    (float *)to + row * kernels_packed(p->k));
    }
    return DTYPE_F32;
}

static void load(void)
{
    base = kernels_find("avx512");
    base = base ? base : kernels_find("avx2");
    base = base ? base : kernels_find("plain");
    level = *base;
    level.name = "openblas";
    level.words = blas_name();
    level.pack = pack;
    level.product = product;
    level.columns = columns;
    level.rounded_bf16 = (struct kernels_rounded){0};
    level.rounded.pack = pack;
    level.rounded.product = product;
}

const struct kernels_level *kernels_openblas(void)
{
    (void)pthread_once(&once, load);
    return blas_found() ? &level : NULL;
}
