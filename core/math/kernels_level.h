/* The inner loops of core/math/kernels.h, once for each kind of CPU: a level.
 *
 * Every sum has one order, which the level and the length k fix: k is cut into blocks of
 * kernels_block(k, most), within a block lane l of a vector adds the products of k = l, l + LANES,
 * ..., the lanes are added in a tree, the blocks from the first to the last. How many rows are
 * multiplied together, where a row stands among them and which thread does it changes no bit. */
#ifndef DM_MATH_KERNELS_LEVEL_H
#define DM_MATH_KERNELS_LEVEL_H

#include "core/formats/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Floats of k that are summed before the lanes are: some rows of x of this length fit into a first
 * level cache. */
#define KERNELS_BLOCK 1152

static inline size_t kernels_block(size_t k, size_t most)
{
    size_t blocks = (k + most - 1) / most;
    size_t block = blocks > 1 ? (k + blocks - 1) / blocks : k;
    return (block + 31) / 32 * 32;
}

/* With so many rows of x, or fewer, as many rows of w are multiplied together where they are short,
 * not four: less lies between what is read and what is brought near. */
#define KERNELS_NARROW 2
#define KERNELS_SHORT_BYTES 8192

static inline size_t kernels_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Where element i of a tensor is. */
static inline const unsigned char *kernels_element(const struct tensor *w, size_t i)
{
    return (const unsigned char *)w->data + i * dtype_size(w->dtype);
}

/* The length of a packed row: k rounded up to whole vectors of any level. */
static inline size_t kernels_packed(size_t k)
{
    return (k + 31) / 32 * 32;
}

/* y [rows, n] = or += x [rows, k] times a piece of weights. */
struct kernels_piece {
    const void *x; /* fp32; in a kernels_rounded product what its round made */
    size_t ldx, rows;
    const void *w; /* any alignment */
    enum dtype dtype;
    size_t ldw;  /* bytes from a row of w to the next */
    bool packed; /* product only: w is what pack made; ldw is that of a packed row */
    size_t n, k;
    bool add; /* += */
    float *y;
    size_t ldy;
    /* What will be read next, product only, asked for from memory while this piece is multiplied:
     * ahead_n rows of weights; where w is not packed, 4 k weights one behind the other. */
    const void *ahead;
    size_t ahead_ld, ahead_n; /* bytes; rows */
};

/* Of fp32 numbers, nothing ahead. */
static inline struct kernels_piece kernels_floats(const float *x, size_t rows, size_t ldx,
                                                  const float *w, size_t n, size_t ldw, size_t k,
                                                  float *y, size_t ldy)
{
    return (struct kernels_piece){.x = x,
                                  .ldx = ldx,
                                  .rows = rows,
                                  .w = w,
                                  .dtype = DTYPE_F32,
                                  .ldw = ldw * sizeof *w,
                                  .n = n,
                                  .k = k,
                                  .y = y,
                                  .ldy = ldy};
}

/* The row of x from which on weights are brought near, where tiles are `height` rows high: for the
 * last dozen of tiles, since what came earlier is no longer in the second level cache when it is
 * packed. */
static inline size_t kernels_ahead_from(const struct kernels_piece *p, size_t height)
{
    return p->packed && p->rows > 12 * height ? p->rows - 12 * height : 0;
}

/* Products whose x is rounded to bf16 first. */
struct kernels_rounded {
    size_t block;   /* of k, as KERNELS_BLOCK */
    size_t x_bytes; /* of an element of what round makes */
    void (*round)(const float *x, size_t n, void *to);
    enum dtype (*pack)(const struct kernels_piece *p, void *to);
    void (*product)(const struct kernels_piece *p); /* x as round made it */
};

struct kernels_level {
    const char *name;  /* as DARKMATTER_KERNELS has it */
    const char *words; /* as kernel_backend has it */
    /* Rows of x that one pass over w serves in product and in columns, and the columns of a tile.
     */
    size_t product_rows, column_rows, column_width;

    /* w [n, k] */
    void (*product)(const struct kernels_piece *p);
    /* w [n, k], four rows at a time: a vector of the first row, one of the second, the third, the
     * fourth, the next of the first. So they are read from one end to the other. Returns the type
     * that they now have: fp32, or what it was where widening them in registers is cheap. */
    enum dtype (*pack)(const struct kernels_piece *p, void *to);
    struct kernels_rounded rounded;      /* whatever w is: rounded x, still as fp32 */
    struct kernels_rounded rounded_bf16; /* w is BF16; block 0: the level has nothing better */
    /* w [k, n] */
    void (*columns)(const struct kernels_piece *p);
    void (*widen)(enum dtype dtype, const void *from, size_t n, float *to);

    float (*dot)(const float *a, const float *b, size_t n);
    void (*add_scaled)(float *y, float a, const float *x, size_t n);
    void (*add)(const float *a, const float *b, size_t n, float *y);
    void (*multiply)(const float *a, const float *b, size_t n, float *y);
    void (*norm)(const float *x, size_t n, const float *gain, float eps, float *y);
    void (*rotate)(float *low, float *high, size_t n, const float *cosine, const float *sine);
    void (*softcap)(float *x, size_t n, float cap);
    void (*gelu)(float *x, size_t n);
    void (*softmax)(float *x, size_t n);
    double (*logsumexp)(const float *x, size_t n);
};

/* What was chosen when it was first asked for: the best level of this CPU, or the one that the
 * environment variable DARKMATTER_KERNELS names and the CPU has. */
const struct kernels_level *kernels_level(void);

/* The level of that name ("plain", "avx2", "avx512", "avx512bf16", "openblas"), NULL where this
 * machine does not have it. */
const struct kernels_level *kernels_find(const char *name);

/* Takes another level from now on, and says which there was. For tests and benches: nothing may
 * run meanwhile. */
const struct kernels_level *kernels_use(const struct kernels_level *level);

/* AVX-512 with VDPBF16PS for rounded products; NULL where the CPU does not have it. */
const struct kernels_level *kernels_avx512bf16(void);

/* OpenBLAS's products; NULL when it is not installed. */
const struct kernels_level *kernels_openblas(void);

extern const struct kernels_level kernels_plain;
#if defined(__x86_64__)
extern const struct kernels_level kernels_avx2;
extern const struct kernels_level kernels_avx512;
#endif

#endif
