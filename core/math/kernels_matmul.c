/* Matrix products over weights as they are stored.
 *
 * Few rows (a token or two being decoded): every weight row is read once, widened into the first
 * level cache and multiplied into all rows. Many rows: a tile of the weights is widened into the
 * worker's scratch and handed to OpenBLAS. Tiles are cut by the weight's shape alone. */
#include "core/base/clones.h"
#include "core/math/blas.h"
#include "core/math/kernels.h"

#include <stdint.h>
#include <string.h>

#define FEW_ROWS 8
/* Floats of one widened tile: small enough to stay in a core's second level cache. */
#define TILE_FLOATS (384u * 1024)

struct product {
    struct threads *threads;
    const float *x;
    size_t rows, k;
    const struct tensor *w;
    size_t first, cols; /* which columns, in kernel_matmul_columns */
    float *y;
    size_t ldy;
    size_t part; /* weight rows, or columns, of one part */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Aligned fp32 weights need no tile of their own. */
static const float *in_place(const struct tensor *w)
{
    return w->dtype == DTYPE_F32 && (uintptr_t)w->data % sizeof(float) == 0 ? w->data : NULL;
}

CLONES float kernel_dot(const float *a, const float *b, size_t n)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

CLONES static void add_scaled(float *restrict y, float a, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

/* --- y = x W^T -------------------------------------------------------------------------------- */

static void matmul_part(void *argument, size_t part, int worker)
{
    const struct product *p = argument;
    float *scratch = threads_scratch(p->threads, worker);
    const float *stored = in_place(p->w);
    size_t first = part * p->part;
    size_t n = smaller(p->part, p->w->shape[0] - first);
    if (p->rows <= FEW_ROWS) {
        for (size_t j = first; j < first + n; j++) {
            const float *row = stored ? stored + j * p->k : scratch;
            if (!stored) {
                tensor_widen(p->w, j * p->k, p->k, scratch);
            }
            for (size_t r = 0; r < p->rows; r++) {
                p->y[r * p->ldy + j] = kernel_dot(p->x + r * p->k, row, p->k);
            }
        }
        return;
    }
    if (!stored) {
        tensor_widen(p->w, first * p->k, n * p->k, scratch);
    }
    blas_product(true, p->rows, n, p->k, 1.0f, p->x, p->k, stored ? stored + first * p->k : scratch,
                 p->k, 0.0f, p->y + first, p->ldy);
}

/* Rows of W [_, k] that fill one tile. */
static size_t tile_rows(size_t k)
{
    size_t n = TILE_FLOATS / k / 16 * 16;
    return n < 16 ? 16 : smaller(n, 256);
}

void kernel_matmul(struct threads *threads, const float *x, size_t rows, const struct tensor *w,
                   float *y)
{
    size_t n = w->shape[0];
    struct product p = {.threads = threads,
                        .x = x,
                        .rows = rows,
                        .k = w->shape[1],
                        .w = w,
                        .y = y,
                        .ldy = n,
                        .part = tile_rows(w->shape[1])};
    threads_run(threads, (n + p.part - 1) / p.part, matmul_part, &p);
}

/* --- y = x W[:, columns] ---------------------------------------------------------------------- */

#define COLUMN_PART 512

/* For k0 .. k0+kb of the columns c .. c+n: W's tile, widened unless it can be used where it is. */
static const float *column_tile(const struct product *p, size_t k0, size_t kb, size_t c, size_t n,
                                float *scratch, size_t *ld)
{
    const float *stored = in_place(p->w);
    if (stored) {
        *ld = p->w->shape[1];
        return stored + k0 * p->w->shape[1] + c;
    }
    for (size_t i = 0; i < kb; i++) {
        tensor_widen(p->w, (k0 + i) * p->w->shape[1] + c, n, scratch + i * n);
    }
    *ld = n;
    return scratch;
}

static void columns_part(void *argument, size_t part, int worker)
{
    const struct product *p = argument;
    float *scratch = threads_scratch(p->threads, worker);
    size_t offset = part * COLUMN_PART;
    size_t n = smaller(COLUMN_PART, p->cols - offset);
    size_t block = TILE_FLOATS / COLUMN_PART;
    for (size_t k0 = 0; k0 < p->k; k0 += block) {
        size_t kb = smaller(block, p->k - k0);
        size_t ld;
        const float *tile = column_tile(p, k0, kb, p->first + offset, n, scratch, &ld);
        if (p->rows > FEW_ROWS) {
            blas_product(false, p->rows, n, kb, 1.0f, p->x + k0, p->k, tile, ld,
                         k0 == 0 ? 0.0f : 1.0f, p->y + offset, p->ldy);
            continue;
        }
        for (size_t r = 0; k0 == 0 && r < p->rows; r++) {
            memset(p->y + r * p->ldy + offset, 0, n * sizeof *p->y);
        }
        for (size_t i = 0; i < kb; i++) { /* each weight row is read once for all rows of x */
            for (size_t r = 0; r < p->rows; r++) {
                add_scaled(p->y + r * p->ldy + offset, p->x[r * p->k + k0 + i], tile + i * ld, n);
            }
        }
    }
}

void kernel_matmul_columns(struct threads *threads, const float *x, size_t rows,
                           const struct tensor *w, size_t first, size_t cols, float *y, size_t ldy)
{
    struct product p = {.threads = threads,
                        .x = x,
                        .rows = rows,
                        .k = w->shape[0],
                        .w = w,
                        .first = first,
                        .cols = cols,
                        .y = y,
                        .ldy = ldy};
    threads_run(threads, (cols + COLUMN_PART - 1) / COLUMN_PART, columns_part, &p);
}

void kernel_add_row(float *y, float a, const struct tensor *w, size_t row)
{
    size_t n = w->shape[1];
    const float *stored = in_place(w);
    if (stored) {
        add_scaled(y, a, stored + row * n, n);
        return;
    }
    float piece[1024];
    for (size_t i = 0; i < n; i += 1024) {
        size_t length = smaller(1024, n - i);
        tensor_widen(w, row * n + i, length, piece);
        add_scaled(y + i, a, piece, length);
    }
}

void kernel_product(const float *x, size_t rows, size_t ldx, const float *w, size_t n, size_t ldw,
                    size_t k, float scale, float *y, size_t ldy)
{
    blas_product(true, rows, n, k, scale, x, ldx, w, ldw, 0.0f, y, ldy);
}

void kernel_combine(const float *x, size_t rows, size_t ldx, const float *w, size_t k, size_t ldw,
                    size_t n, float *y, size_t ldy)
{
    blas_product(false, rows, n, k, 1.0f, x, ldx, w, ldw, 0.0f, y, ldy);
}
