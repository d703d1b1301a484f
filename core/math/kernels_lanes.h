/* The algorithms of a level over vectors of LANES floats. A level's file defines the vectors first:
 *
 * LANES, TARGET (its function attribute), PRODUCT_ROWS, COLUMN_ROWS, COLUMN_VECTORS (register
 * tiles), vec, and v_zero, v_set, v_load, v_load_n, v_store, v_store_n, v_add, v_sub, v_mul, v_div,
 * v_fma, v_max, v_min, v_round, v_scale (a 2^b, b whole), v_below (c < d ? a : b), v_abs, v_sign (b
 * with the sign of a), v_load_as and v_load_as_n (widened from a dtype), v_to_bf16 (rounded, NaNs
 * kept), v_sum4 (the lanes of four vectors), and wide, w_zero, w_add, w_sum (sums of lanes in
 * double).
 *
 * A value's place in a row never changes its result: what is left at the end of a row goes through
 * the same vector operations, in lanes that are otherwise zero. */
#ifndef DM_MATH_KERNELS_LANES_H
#define DM_MATH_KERNELS_LANES_H

#include "core/math/kernels_level.h"

#include <math.h>

/* The tiles are arrays that must live in registers, hence whole loops unrolled. */
#if defined(__clang__) /* unrolls short loops of a known length by itself */
#define UNROLL
#define UNROLL_TWICE
#else
#define UNROLL _Pragma("GCC unroll 8")
#define UNROLL_TWICE _Pragma("GCC unroll 2")
#endif
#define INLINE static inline __attribute__((always_inline)) TARGET

static size_t lanes_left(size_t n, size_t done)
{
    return n - done < LANES ? n - done : LANES;
}

/* --- y = x W^T -------------------------------------------------------------------------------- */

#define PRODUCT_COLUMNS 4

/* One register tile: R rows of x by C rows of w, 2 or 4; missing rows of w repeat the last. From
 * `start` on, 4 k bytes are brought near meanwhile, C k weights where w is not packed (NULL: none).
 */
INLINE void product_tile(const size_t R, const size_t C, const enum dtype dtype, const bool packed,
                         const struct kernels_piece *p, size_t row, size_t column,
                         const void *start)
{
    const size_t size = dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
    const unsigned char *soon = start;
    const float *x[PRODUCT_ROWS];
    const unsigned char *w[PRODUCT_COLUMNS];
    vec sum[PRODUCT_ROWS][PRODUCT_COLUMNS];
    size_t n = p->n - column < C ? p->n - column : C;
    const size_t step = packed ? PRODUCT_COLUMNS * size : size;
    const size_t stride = packed ? LANES * size : p->ldw;
    UNROLL for (size_t c = 0; c < C; c++)
    {
        w[c] =
            (const unsigned char *)p->w + column * p->ldw + (packed || c < n ? c : n - 1) * stride;
    }
    UNROLL for (size_t r = 0; r < R; r++)
    {
        x[r] = (const float *)p->x + (row + r) * p->ldx;
        UNROLL for (size_t c = 0; c < C; c++)
        {
            sum[r][c] = v_zero();
        }
    }
    size_t i = 0;
    const size_t whole = p->k / LANES * LANES;
    UNROLL_TWICE
    for (; i < whole; i += LANES) {
        if (soon && packed) {
            __builtin_prefetch(soon + i * sizeof(float), 0, 2);
        } else if (soon) {
            UNROLL for (size_t line = 0; line < C * LANES * size; line += 64)
            {
                __builtin_prefetch(soon + i * C * size + line, 0, 3);
            }
        }
        vec a[PRODUCT_ROWS];
        UNROLL for (size_t r = 0; r < R; r++)
        {
            a[r] = v_load(x[r] + i);
        }
        UNROLL for (size_t c = 0; c < C; c++)
        {
            vec b = v_load_as(dtype, w[c] + i * step);
            UNROLL for (size_t r = 0; r < R; r++)
            {
                sum[r][c] = v_fma(a[r], b, sum[r][c]);
            }
        }
    }
    size_t left = p->k - i;
    if (left > 0) {
        UNROLL for (size_t c = 0; c < C; c++)
        {
            vec b = packed ? v_load_as(dtype, w[c] + i * step)
                           : v_load_as_n(dtype, w[c] + i * step, left);
            UNROLL for (size_t r = 0; r < R; r++)
            {
                sum[r][c] = v_fma(v_load_n(x[r] + i, left), b, sum[r][c]);
            }
        }
    }
    UNROLL for (size_t r = 0; r < R; r++)
    {
        float *y = p->y + (row + r) * p->ldy + column;
        v_sum4(sum[r][0], sum[r][1], C > 2 ? sum[r][2] : v_zero(), C > 2 ? sum[r][3] : v_zero(), n,
               p->add, y);
    }
}

/* Rows of one tile, so that `rows` are cut into tiles of nearly the same height. */
static size_t tile_height(size_t rows, size_t most)
{
    size_t tiles = (rows + most - 1) / most;
    return (rows + tiles - 1) / tiles;
}

#define TILE_CASE(R)                                                                               \
    case R:                                                                                        \
        if ((R) <= PRODUCT_ROWS) {                                                                 \
            product_tile((R) <= PRODUCT_ROWS ? (R) : 1, PRODUCT_COLUMNS, dtype, packed, p, row, c, \
                         soon);                                                                    \
        }                                                                                          \
        break

INLINE void product_of(const enum dtype dtype, const bool packed, const struct kernels_piece *p)
{
    if (!packed && p->rows <= KERNELS_NARROW && p->n <= KERNELS_NARROW) {
        const void *soon = p->ahead_n ? p->ahead : NULL;
        if (p->rows == 1) {
            product_tile(1, KERNELS_NARROW, dtype, packed, p, 0, 0, soon);
        } else {
            product_tile(2, KERNELS_NARROW, dtype, packed, p, 0, 0, soon);
        }
        return;
    }
    size_t height = p->rows ? tile_height(p->rows, PRODUCT_ROWS) : 1, asked = 0;
    size_t ahead_from = kernels_ahead_from(p, height);
    for (size_t row = 0; row < p->rows; row += height) {
        size_t rows = p->rows - row < height ? p->rows - row : height;
        size_t next = row + height;
        for (size_t c = 0; c < p->n; c += PRODUCT_COLUMNS) {
            /* first the rows of x that the next tile reads, then weights */
            const void *soon = NULL;
            if (packed && next < p->rows && next < row + 2 * height) {
                soon = (const float *)p->x + next++ * p->ldx;
            } else if (row >= ahead_from && asked < p->ahead_n) {
                soon = (const unsigned char *)p->ahead + asked++ * p->ahead_ld;
            }
            switch (rows) {
                TILE_CASE(1);
                TILE_CASE(2);
                TILE_CASE(3);
                TILE_CASE(4);
                TILE_CASE(5);
                TILE_CASE(6);
            }
        }
    }
}

TARGET static void product_f32(const struct kernels_piece *p)
{
    product_of(DTYPE_F32, false, p);
}

TARGET static void packed_f32(const struct kernels_piece *p)
{
    product_of(DTYPE_F32, true, p);
}

TARGET static void packed_f16(const struct kernels_piece *p)
{
    product_of(DTYPE_F16, true, p);
}

TARGET static void packed_bf16(const struct kernels_piece *p)
{
    product_of(DTYPE_BF16, true, p);
}

TARGET static void product_f16(const struct kernels_piece *p)
{
    product_of(DTYPE_F16, false, p);
}

TARGET static void product_bf16(const struct kernels_piece *p)
{
    product_of(DTYPE_BF16, false, p);
}

static void product(const struct kernels_piece *p)
{
    if (p->dtype == DTYPE_F32) {
        (p->packed ? packed_f32 : product_f32)(p);
    } else if (p->dtype == DTYPE_F16) {
        (p->packed ? packed_f16 : product_f16)(p);
    } else {
        (p->packed ? packed_bf16 : product_bf16)(p);
    }
}

/* n rows of w [n, k] as `packed` in kernels_level.h says; past k, zeros. */
INLINE void pack_rows(const enum dtype dtype, const struct kernels_piece *p, float *to)
{
    const size_t size = dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
    for (size_t row = 0; row < p->n; row++) {
        const unsigned char *from = (const unsigned char *)p->w + row * p->ldw;
        float *out = to + row / PRODUCT_COLUMNS * PRODUCT_COLUMNS * kernels_packed(p->k) +
                     row % PRODUCT_COLUMNS * LANES;
        size_t i = 0;
        for (; p->k - i >= LANES; i += LANES) {
            v_store(out + i * PRODUCT_COLUMNS, v_load_as(dtype, from + i * size));
        }
        if (i < p->k) {
            v_store(out + i * PRODUCT_COLUMNS, v_load_as_n(dtype, from + i * size, p->k - i));
        }
    }
}

TARGET static enum dtype pack(const struct kernels_piece *p, void *to)
{
    if (p->dtype == DTYPE_F32) {
        pack_rows(DTYPE_F32, p, to);
    } else if (p->dtype == DTYPE_F16) {
        pack_rows(DTYPE_F16, p, to);
    } else {
        pack_rows(DTYPE_BF16, p, to);
    }
    return DTYPE_F32;
}

/* --- y = x W ---------------------------------------------------------------------------------- */

/* R rows of x by COLUMN_VECTORS vectors of columns, k from the first to the last. whole: all of
 * those columns are there. */
INLINE void column_tile(const size_t R, const enum dtype dtype, const bool whole,
                        const struct kernels_piece *p, size_t row, size_t column)
{
    const size_t size = dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
    const float *x = (const float *)p->x + row * p->ldx;
    const unsigned char *w = (const unsigned char *)p->w + column * size;
    float *y = p->y + row * p->ldy + column;
    vec sum[COLUMN_ROWS][COLUMN_VECTORS];
    size_t n[COLUMN_VECTORS];
    UNROLL for (size_t v = 0; v < COLUMN_VECTORS; v++)
    {
        size_t done = column + v * LANES;
        n[v] = whole ? LANES : done < p->n ? lanes_left(p->n, done) : 0;
        UNROLL for (size_t r = 0; r < R; r++)
        {
            sum[r][v] = !p->add ? v_zero()
                        : whole ? v_load(y + r * p->ldy + v * LANES)
                                : v_load_n(y + r * p->ldy + v * LANES, n[v]);
        }
    }
    for (size_t i = 0; i < p->k; i++, w += p->ldw) {
        vec b[COLUMN_VECTORS];
        UNROLL for (size_t v = 0; v < COLUMN_VECTORS; v++)
        {
            const unsigned char *at = w + v * LANES * size;
            b[v] = whole ? v_load_as(dtype, at) : v_load_as_n(dtype, at, n[v]);
        }
        UNROLL for (size_t r = 0; r < R; r++)
        {
            vec a = v_set(x[r * p->ldx + i]);
            UNROLL for (size_t v = 0; v < COLUMN_VECTORS; v++)
            {
                sum[r][v] = v_fma(a, b[v], sum[r][v]);
            }
        }
    }
    UNROLL for (size_t r = 0; r < R; r++)
    {
        UNROLL for (size_t v = 0; v < COLUMN_VECTORS; v++)
        {
            if (whole) {
                v_store(y + r * p->ldy + v * LANES, sum[r][v]);
            } else {
                v_store_n(y + r * p->ldy + v * LANES, sum[r][v], n[v]);
            }
        }
    }
}

#define COLUMN_CASE(R)                                                               \
    case R:                                                                          \
        if ((R) <= COLUMN_ROWS) {                                                    \
            column_tile((R) <= COLUMN_ROWS ? (R) : 1, dtype, whole, p, row, column); \
        }                                                                            \
        break

INLINE void column_tiles(const enum dtype dtype, const bool whole, const struct kernels_piece *p,
                         size_t column)
{
    size_t height = p->rows ? tile_height(p->rows, COLUMN_ROWS) : 1;
    for (size_t row = 0; row < p->rows; row += height) {
        switch (p->rows - row < height ? p->rows - row : height) {
            COLUMN_CASE(1);
            COLUMN_CASE(2);
            COLUMN_CASE(3);
            COLUMN_CASE(4);
            COLUMN_CASE(5);
            COLUMN_CASE(6);
        }
    }
}

INLINE void columns_of(const enum dtype dtype, const struct kernels_piece *p)
{
    const size_t width = (size_t)COLUMN_VECTORS * LANES;
    size_t column = 0;
    for (; p->n - column >= width; column += width) {
        column_tiles(dtype, true, p, column);
    }
    if (column < p->n) {
        column_tiles(dtype, false, p, column);
    }
}

TARGET static void columns_f32(const struct kernels_piece *p)
{
    columns_of(DTYPE_F32, p);
}

TARGET static void columns_f16(const struct kernels_piece *p)
{
    columns_of(DTYPE_F16, p);
}

TARGET static void columns_bf16(const struct kernels_piece *p)
{
    columns_of(DTYPE_BF16, p);
}

static void columns(const struct kernels_piece *p)
{
    if (p->dtype == DTYPE_F32) {
        columns_f32(p);
    } else if (p->dtype == DTYPE_F16) {
        columns_f16(p);
    } else {
        columns_bf16(p);
    }
}

#include "core/math/kernels_values.h"

#endif
