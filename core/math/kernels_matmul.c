/* Matrix products over weights as they are stored.
 *
 * Few rows (a token or two being decoded): the weights are widened in registers while they stream
 * past, once. Many rows: a block of them is widened into the worker's scratch, where it stays in
 * the second level cache while every row of x is multiplied with it. Both add in the same order.
 * Rows that have to be rounded are, all of them, before the first product. */
#include "core/math/kernels.h"
#include "core/math/kernels_level.h"

/* Weight rows that are packed together, fewer where that leaves a thread without work, and bytes of
 * weights that are streamed as one part. */
#define BLOCK_ROWS 96
#define STREAM_BYTES ((size_t)512 << 10)
#define TILE_ROWS ((size_t)4) /* of weights that every level multiplies together */
#define IN_PLACE_TILES 4      /* of rows of x: with more of them packing pays */

/* What a product is made with: on x as it is, or rounded. */
struct method {
    size_t block; /* of k */
    size_t x_bytes;
    void (*round)(const float *x, size_t n, void *to); /* NULL: x is used where it is */
    enum dtype (*pack)(const struct kernels_piece *p, void *to);
    void (*product)(const struct kernels_piece *p);
};

struct multiplication {
    struct threads *threads;
    const struct kernels_level *level;
    struct method method;
    const float *x;
    /* x as the method wants it: x itself, or rounded, where one block of k [rows, block] lies
     * behind the other, so that a block's rows are read from one end to the other. */
    const void *made;
    size_t ldx;    /* elements from a row of a block to the next */
    size_t x_step; /* bytes: the block that begins at k is at made + k x_step */
    size_t rows, k;
    /* y[i] [rows, w[i]'s rows]. Parts cut the rows of all w, one behind the other; in kernel_geglu
     * those of gate and up side by side. */
    const struct tensor *w[KERNEL_OUTPUTS];
    float *y[KERNEL_OUTPUTS];
    size_t n_w, n;
    bool geglu;
    size_t part; /* weight rows of a part */
};

/* --- y = x W^T -------------------------------------------------------------------------------- */

static struct method method_of(const struct kernels_level *level, enum dtype dtype, bool rounded)
{
    const struct kernels_rounded *r =
        dtype == DTYPE_BF16 && level->rounded_bf16.block ? &level->rounded_bf16 : &level->rounded;
    return rounded
               ? (struct method){r->block, r->x_bytes, r->round, r->pack, r->product}
               : (struct method){KERNELS_BLOCK, sizeof(float), NULL, level->pack, level->product};
}

/* All of k, four rows of w at a time, so that w is read from its first byte to its last. While four
 * rows are multiplied the next four are brought near, in the same order; after the last of them
 * those at whole->ahead, if any. */
static void product_in_place(const struct method *method, size_t x_step,
                             const struct kernels_piece *whole)
{
    size_t block = kernels_block(whole->k, method->block), size = dtype_size(whole->dtype);
    const unsigned char *w = whole->w;
    bool narrow = whole->rows <= KERNELS_NARROW && whole->k * size <= KERNELS_SHORT_BYTES;
    const size_t tile = narrow ? KERNELS_NARROW : TILE_ROWS;
    for (size_t c = 0; c < whole->n; c += tile) {
        bool last = c + 2 * tile > whole->n;
        const unsigned char *next = last ? whole->ahead : w + (c + tile) * whole->ldw;
        for (size_t k = 0; k < whole->k; k += block) {
            struct kernels_piece p = *whole;
            p.x = (const unsigned char *)p.x + k * x_step;
            p.w = w + c * p.ldw + k * size;
            p.n = kernels_smaller(tile, whole->n - c);
            p.k = kernels_smaller(block, whole->k - k);
            p.add = k > 0;
            p.y += c;
            p.ahead_n = next ? 1 : 0;
            p.ahead = next ? next + tile * k * size : NULL;
            method->product(&p);
        }
    }
}

static bool in_place(const struct multiplication *m)
{
    return m->rows <= IN_PLACE_TILES * m->level->product_rows;
}

/* One block of k: p's weights are packed, then multiplied with every row. */
static void block_of_k(const struct multiplication *m, struct kernels_piece p, size_t k,
                       unsigned char *scratch)
{
    p.dtype = m->method.pack(&p, scratch);
    p.x = (const unsigned char *)m->made + k * m->x_step;
    p.w = scratch;
    p.packed = true;
    p.ldw = kernels_packed(p.k) * dtype_size(p.dtype);
    m->method.product(&p);
}

/* Columns first .. first+n of m->y[i], from as many rows of m->w[i]. Meanwhile the weights at
 * `later`, of as many rows or more, are brought near (NULL: none). */
static void matmul_columns(const struct multiplication *m, size_t i, size_t first, size_t n,
                           const unsigned char *later, unsigned char *scratch)
{
    const struct tensor *w = m->w[i];
    struct kernels_piece p = {.x = m->made,
                              .ldx = m->ldx,
                              .rows = m->rows,
                              .w = kernels_element(w, first * m->k),
                              .dtype = w->dtype,
                              .ldw = m->k * dtype_size(w->dtype),
                              .n = n,
                              .k = m->k,
                              .y = m->y[i] + first,
                              .ldy = w->shape[0]};
    if (in_place(m)) {
        p.ahead = later;
        product_in_place(&m->method, m->x_step, &p);
        return;
    }
    size_t block = kernels_block(m->k, m->method.block);
    p.ahead_ld = p.ldw;
    for (size_t k = 0; k < m->k; k += block) {
        bool last = m->k - k <= block;
        p.k = kernels_smaller(block, m->k - k);
        p.add = k > 0;
        p.w = kernels_element(w, first * m->k + k);
        p.ahead = last ? later : kernels_element(w, first * m->k + k + block);
        p.ahead_n = p.ahead ? n : 0;
        block_of_k(m, p, k, scratch);
    }
}

/* The weights that come after those of `part`: when it is done, the other threads have probably
 * taken the parts between. NULL: fewer than n rows are left. */
static const unsigned char *later_weights(const struct multiplication *m, size_t part, size_t n)
{
    size_t row = (part + (size_t)threads_count(m->threads)) * m->part;
    size_t i = 0;
    while (i + 1 < m->n_w && !m->geglu && row >= m->w[i]->shape[0]) {
        row -= m->w[i++]->shape[0];
    }
    return row + n <= m->w[i]->shape[0] ? kernels_element(m->w[i], row * m->k) : NULL;
}

static void geglu_part(const struct multiplication *m, size_t part, unsigned char *scratch)
{
    size_t first = part * m->part, n = kernels_smaller(m->part, m->n - first);
    matmul_columns(m, 0, first, n, kernels_element(m->w[1], first * m->k), scratch);
    matmul_columns(m, 1, first, n, later_weights(m, part, n), scratch);
    for (size_t r = 0; r < m->rows; r++) { /* while both are still in the cache */
        float *gate = m->y[0] + r * m->n + first;
        float *up = m->y[1] + r * m->n + first;
        m->level->gelu(gate, n);
        m->level->multiply(gate, up, n, up);
    }
}

static void matmul_part(void *argument, size_t part, int worker)
{
    const struct multiplication *m = argument;
    unsigned char *scratch = threads_scratch(m->threads, worker);
    if (m->geglu) {
        geglu_part(m, part, scratch);
        return;
    }
    size_t first = part * m->part, end = first + m->part;
    for (size_t i = 0; i < m->n_w; i++) { /* a part may reach from one matrix into the next */
        size_t rows = m->w[i]->shape[0], last = kernels_smaller(end, rows);
        if (first < last) {
            size_t n = last - first;
            const unsigned char *later = end <= rows ? later_weights(m, part, n) : NULL;
            matmul_columns(m, i, first, n, later, scratch);
        }
        first = first > rows ? first - rows : 0;
        end = end > rows ? end - rows : 0;
    }
}

static void round_row(void *argument, size_t row, int worker)
{
    (void)worker;
    const struct multiplication *m = argument;
    unsigned char *to = (unsigned char *)(uintptr_t)m->made + row * m->ldx * m->method.x_bytes;
    for (size_t k = 0; k < m->k; k += m->ldx) {
        m->method.round(m->x + row * m->k + k, kernels_smaller(m->ldx, m->k - k),
                        to + k * m->x_step);
    }
}

static void multiply_rows(struct multiplication *m)
{
    size_t share = 8 * (size_t)threads_count(m->threads);
    m->part = BLOCK_ROWS;
    while (m->part > 16 && m->n / m->part < share) {
        m->part /= 2;
    }
    if (in_place(m)) {
        size_t row = m->k * dtype_size(m->w[0]->dtype) + 1;
        size_t fit = kernels_smaller(STREAM_BYTES / row, m->n / share);
        m->part = fit < TILE_ROWS ? TILE_ROWS : fit / TILE_ROWS * TILE_ROWS;
    }
    threads_run(m->threads, (m->n + m->part - 1) / m->part, matmul_part, m);
}

static void matmul_run(struct multiplication *m, enum precision precision)
{
    enum dtype dtype = m->w[0]->dtype;
    for (size_t i = 1; i < m->n_w; i++) {
        dtype = m->w[i]->dtype == dtype ? dtype : DTYPE_F32; /* mixed: what suits all */
    }
    m->level = kernels_level();
    m->method = method_of(m->level, dtype, precision == PRECISION_BF16);
    if (!m->method.round) {
        m->made = m->x;
        m->ldx = m->k;
        m->x_step = sizeof *m->x;
        multiply_rows(m);
        return;
    }
    /* Rounded once, as many rows as there is room for, before all parts read them. */
    m->made = threads_hold_shared(m->threads);
    m->ldx = kernels_block(m->k, m->method.block);
    size_t row_bytes = (m->k + m->ldx - 1) / m->ldx * m->ldx * m->method.x_bytes;
    size_t all = m->rows, fit = THREADS_SHARED_BYTES / row_bytes;
    for (size_t row = 0; row < all; row += m->rows) {
        m->rows = kernels_smaller(fit, all - row);
        m->x_step = m->rows * m->method.x_bytes;
        threads_run(m->threads, m->rows, round_row, m);
        multiply_rows(m);
        m->x += m->rows * m->k;
        for (size_t i = 0; i < m->n_w; i++) {
            m->y[i] += m->rows * m->w[i]->shape[0];
        }
    }
    threads_release_shared(m->threads);
}

void kernel_matmul_each(struct threads *threads, enum precision precision, const float *x,
                        size_t rows, const struct kernel_output *each, size_t n)
{
    for (size_t i = 1; i < n; i++) { /* each type has its own way to be multiplied */
        if (each[i].w->dtype != each[0].w->dtype) {
            kernel_matmul_each(threads, precision, x, rows, each, i);
            kernel_matmul_each(threads, precision, x, rows, each + i, n - i);
            return;
        }
    }
    struct multiplication m = {
        .threads = threads, .x = x, .rows = rows, .k = each[0].w->shape[1], .n_w = n};
    for (size_t i = 0; i < n; i++) {
        m.w[i] = each[i].w;
        m.y[i] = each[i].y;
        m.n += each[i].w->shape[0];
    }
    matmul_run(&m, precision);
}

void kernel_matmul_as(struct threads *threads, enum precision precision, const float *x,
                      size_t rows, const struct tensor *w, float *y)
{
    kernel_matmul_each(threads, precision, x, rows, &(struct kernel_output){w, y}, 1);
}

void kernel_matmul(struct threads *threads, const float *x, size_t rows, const struct tensor *w,
                   float *y)
{
    kernel_matmul_as(threads, PRECISION_EXACT, x, rows, w, y);
}

void kernel_geglu(struct threads *threads, enum precision precision, const float *x, size_t rows,
                  const struct tensor *w_gate, const struct tensor *w_up, float *gate,
                  float *neurons)
{
    struct multiplication m = {.threads = threads,
                               .x = x,
                               .rows = rows,
                               .k = w_gate->shape[1],
                               .w = {w_gate, w_up},
                               .y = {gate, neurons},
                               .n_w = 2,
                               .n = w_gate->shape[0],
                               .geglu = true};
    matmul_run(&m, precision);
}

void kernel_product(const float *x, size_t rows, size_t ldx, const float *w, size_t n, size_t ldw,
                    size_t k, float scale, float *y, size_t ldy)
{
    struct kernels_piece p = kernels_floats(x, rows, ldx, w, n, ldw, k, y, ldy);
    struct method method = method_of(kernels_level(), DTYPE_F32, false);
    product_in_place(&method, sizeof *x, &p);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < n; c++) {
            y[r * ldy + c] *= scale;
        }
    }
}
