/* VDPBF16PS: 32 products of bf16 pairs in one instruction, added to 16 fp32 lanes. The rest is the
 * AVX-512 level's, but that weights are packed as they are stored. Lane l of a vector adds the
 * products of k = 2 l and 2 l + 1, then of 32 further; numbers below the normal range count as 0.
 */
#include "core/math/kernels_level.h"

#if defined(__x86_64__)

#define TARGET \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")))
#include "core/math/kernels_avx512.h"

#include <pthread.h>

#define ROWS 6
#define COLUMNS 4
#define PAIRED 32 /* elements of a vector */
#define INLINE static inline __attribute__((always_inline)) TARGET
#if defined(__clang__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

INLINE __m512i load_n(const uint16_t *p, size_t n)
{
    __mmask32 there = n < PAIRED ? (__mmask32)((1u << n) - 1u) : ~(__mmask32)0;
    return _mm512_maskz_loadu_epi16(there, p);
}

INLINE __m512 add_products(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

INLINE void tile(const size_t R, const bool packed, const struct kernels_piece *p, size_t row,
                 size_t column, const unsigned char *soon)
{
    const uint16_t *x[ROWS];
    const unsigned char *w[COLUMNS];
    __m512 sum[ROWS][COLUMNS];
    size_t n = p->n - column < COLUMNS ? p->n - column : COLUMNS;
    const size_t step = packed ? COLUMNS * sizeof(uint16_t) : sizeof(uint16_t);
    UNROLL for (size_t c = 0; c < COLUMNS; c++)
    {
        w[c] = (const unsigned char *)p->w + column * p->ldw +
               (packed ? c * PAIRED * sizeof(uint16_t) : (c < n ? c : n - 1) * p->ldw);
    }
    UNROLL for (size_t r = 0; r < R; r++)
    {
        x[r] = (const uint16_t *)p->x + (row + r) * p->ldx;
        UNROLL for (size_t c = 0; c < COLUMNS; c++)
        {
            sum[r][c] = _mm512_setzero_ps();
        }
    }
    size_t i = 0;
    for (; p->k - i >= PAIRED; i += PAIRED) {
        if (soon && packed) {
            __builtin_prefetch(soon + i * sizeof(uint16_t), 0, 2);
        } else if (soon) {
            UNROLL for (size_t line = 0; line < COLUMNS * PAIRED * sizeof(uint16_t); line += 64)
            {
                __builtin_prefetch(soon + i * COLUMNS * sizeof(uint16_t) + line, 0, 3);
            }
        }
        __m512i a[ROWS];
        UNROLL for (size_t r = 0; r < R; r++)
        {
            a[r] = _mm512_loadu_si512(x[r] + i);
        }
        UNROLL for (size_t c = 0; c < COLUMNS; c++)
        {
            __m512i b = _mm512_loadu_si512(w[c] + i * step);
            UNROLL for (size_t r = 0; r < R; r++)
            {
                sum[r][c] = add_products(sum[r][c], a[r], b);
            }
        }
    }
    if (i < p->k) {
        UNROLL for (size_t c = 0; c < COLUMNS; c++)
        {
            __m512i b = load_n((const void *)(w[c] + i * step), p->k - i);
            UNROLL for (size_t r = 0; r < R; r++)
            {
                sum[r][c] = add_products(sum[r][c], load_n(x[r] + i, p->k - i), b);
            }
        }
    }
    UNROLL for (size_t r = 0; r < R; r++)
    {
        v_sum4(sum[r][0], sum[r][1], sum[r][2], sum[r][3], n, p->add,
               p->y + (row + r) * p->ldy + column);
    }
}

#define TILE_CASE(R)                           \
    case R:                                    \
        tile(R, packed, p, row, column, soon); \
        break

INLINE void product_of(const bool packed, const struct kernels_piece *p)
{
    size_t tiles = (p->rows + ROWS - 1) / ROWS, asked = 0;
    size_t height = tiles ? (p->rows + tiles - 1) / tiles : 1;
    size_t ahead_from = kernels_ahead_from(p, height);
    for (size_t row = 0; row < p->rows; row += height) {
        size_t next = row + height;
        for (size_t column = 0; column < p->n; column += COLUMNS) {
            /* first the rows of x that the next tile reads, then weights */
            const unsigned char *soon = NULL;
            if (packed && next < p->rows && next < row + 2 * height) {
                soon = (const unsigned char *)p->x + next++ * p->ldx * sizeof(uint16_t);
            } else if (row >= ahead_from && asked < p->ahead_n) {
                soon = (const unsigned char *)p->ahead + asked++ * p->ahead_ld;
            }
            switch (p->rows - row < height ? p->rows - row : height) {
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

TARGET static void product(const struct kernels_piece *p)
{
    if (p->packed) {
        product_of(true, p);
    } else {
        product_of(false, p);
    }
}

/* As in kernels_level.h, in vectors of so many bytes; past k, zeros. */
INLINE void pack_vectors(const size_t vector, const struct kernels_piece *p, void *to)
{
    const size_t size = dtype_size(p->dtype), bytes = p->k * size;
    for (size_t row = 0; row < p->n; row++) {
        const unsigned char *from = (const unsigned char *)p->w + row * p->ldw;
        unsigned char *out = (unsigned char *)to +
                             row / COLUMNS * COLUMNS * kernels_packed(p->k) * size +
                             row % COLUMNS * vector;
        size_t i = 0;
        for (; bytes - i >= vector; i += vector) {
            memcpy(out + i * COLUMNS, from + i, vector);
        }
        if (i < bytes) {
            memset(out + i * COLUMNS, 0, vector);
            memcpy(out + i * COLUMNS, from + i, bytes - i);
        }
    }
}

TARGET static enum dtype pack_pairs(const struct kernels_piece *p, void *to)
{
    pack_vectors(PAIRED * sizeof(uint16_t), p, to);
    return DTYPE_BF16;
}

/* 16 values a vector, as they are: half the bytes from the second level cache, and the shifts that
 * widen them find room beside the multiply-adds. */
TARGET static enum dtype pack_stored(const struct kernels_piece *p, void *to)
{
    if (p->dtype == DTYPE_F32) {
        pack_vectors(LANES * sizeof(float), p, to);
    } else {
        pack_vectors(LANES * sizeof(uint16_t), p, to);
    }
    return p->dtype;
}

TARGET static void round_row(const float *x, size_t n, void *to)
{
    uint16_t *y = to;
    size_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        __m256i halves = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
        _mm256_storeu_si256((void *)(y + i), halves);
    }
    if (i < n) {
        __m256i halves = (__m256i)_mm512_cvtneps_pbh(v_load_n(x + i, n - i));
        _mm256_mask_storeu_epi16(y + i, first(n - i), halves);
    }
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct kernels_level level;

static void fill(void)
{
    level = kernels_avx512;
    level.name = "avx512bf16";
    level.words = "AVX-512, fp32 and bf16";
    level.pack = pack_stored;
    level.rounded.pack = pack_stored;
    level.rounded_bf16 = (struct kernels_rounded){.block = 2 * (size_t)KERNELS_BLOCK,
                                                  .x_bytes = sizeof(uint16_t),
                                                  .round = round_row,
                                                  .pack = pack_pairs,
                                                  .product = product};
}

const struct kernels_level *kernels_avx512bf16(void)
{
    (void)pthread_once(&once, fill);
    return kernels_find("avx512") && __builtin_cpu_supports("avx512bf16") ? &level : NULL;
}

#endif
