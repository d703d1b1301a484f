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
    struct method method; /* not in kernel_matmul_columns */
    const float *x;
    const void *made; /* x as the method wants it: x itself, or rounded */
    size_t ldx;       /* elements from a row of `made` to the next */
    size_t rows, k;
    const struct tensor *w, *w_up; /* w_up: in kernel_geglu */
    size_t first, cols;            /* which columns, in kernel_matmul_columns */
    float *y, *y_up;
    size_t ldy;
    size_t part; /* weight rows, or columns, of one part */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static const unsigned char *element(const struct tensor *w, size_t i)
{
    return (const unsigned char *)w->data + i * dtype_size(w->dtype);
}

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
static void product_in_place(const struct method *method, const struct kernels_piece *whole)
{
    size_t block = kernels_block(whole->k, method->block), size = dtype_size(whole->dtype);
    const unsigned char *w = whole->w;
    for (size_t c = 0; c < whole->n; c += TILE_ROWS) {
        bool last = c + 2 * TILE_ROWS > whole->n;
        const unsigned char *next = last ? whole->ahead : w + (c + TILE_ROWS) * whole->ldw;
        for (size_t k = 0; k < whole->k; k += block) {
            struct kernels_piece p = *whole;
            p.x = (const unsigned char *)p.x + k * method->x_bytes;
            p.w = w + c * p.ldw + k * size;
            p.n = smaller(TILE_ROWS, whole->n - c);
            p.k = smaller(block, whole->k - k);
            p.add = k > 0;
            p.y += c;
            p.ahead_n = next ? 1 : 0;
            p.ahead = next ? next + TILE_ROWS * k * size : NULL;
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
    p.x = (const unsigned char *)m->made + k * m->method.x_bytes;
    p.w = scratch;
    p.packed = true;
    p.ldw = kernels_packed(p.k) * dtype_size(p.dtype);
    m->method.product(&p);
}

/* Columns first .. first+n of y, from as many rows of w. Meanwhile the rows `later` and on of
 * w_later are brought near. */
static void matmul_columns(const struct multiplication *m, const struct tensor *w, size_t first,
                           float *y, const struct tensor *w_later, size_t later,
                           unsigned char *scratch)
{
    struct kernels_piece p = {.x = m->made,
                              .ldx = m->ldx,
                              .rows = m->rows,
                              .w = element(w, first * m->k),
                              .dtype = w->dtype,
                              .ldw = m->k * dtype_size(w->dtype),
                              .n = smaller(m->part, w->shape[0] - first),
                              .k = m->k,
                              .y = y + first,
                              .ldy = m->ldy};
    if (in_place(m)) {
        p.ahead = later + TILE_ROWS <= w->shape[0] ? element(w_later, later * m->k) : NULL;
        product_in_place(&m->method, &p);
        return;
    }
    size_t block = kernels_block(m->k, m->method.block);
    p.ahead_ld = p.ldw;
    for (size_t k = 0; k < m->k; k += block) {
        bool last = m->k - k <= block;
        size_t next = last ? later : first;
        p.k = smaller(block, m->k - k);
        p.add = k > 0;
        p.ahead_n = next < w->shape[0] ? smaller(p.n, w->shape[0] - next) : 0;
        p.ahead =
            p.ahead_n ? element(last ? w_later : w, next * m->k + (last ? 0 : k + block)) : NULL;
        p.w = element(w, first * m->k + k);
        block_of_k(m, p, k, scratch);
    }
}

static void matmul_part(void *argument, size_t part, int worker)
{
    const struct multiplication *m = argument;
    unsigned char *scratch = threads_scratch(m->threads, worker);
    size_t first = part * m->part;
    size_t n = smaller(m->part, m->ldy - first);
    /* When this part is done, the other threads have probably taken the parts between. */
    size_t later = first + (size_t)threads_count(m->threads) * m->part;
    if (!m->w_up) {
        matmul_columns(m, m->w, first, m->y, m->w, later, scratch);
        return;
    }
    matmul_columns(m, m->w, first, m->y, m->w_up, first, scratch);
    matmul_columns(m, m->w_up, first, m->y_up, m->w, later, scratch);
    for (size_t r = 0; r < m->rows; r++) { /* while both are still in the cache */
        float *gate = m->y + r * m->ldy + first;
        float *up = m->y_up + r * m->ldy + first;
        m->level->gelu(gate, n);
        m->level->multiply(gate, up, n, up);
    }
}

static void round_row(void *argument, size_t row, int worker)
{
    (void)worker;
    const struct multiplication *m = argument;
    unsigned char *to = (unsigned char *)(uintptr_t)m->made + row * m->ldx * m->method.x_bytes;
    m->method.round(m->x + row * m->k, m->k, to);
}

static void multiply_rows(struct multiplication *m)
{
    size_t n = m->ldy, share = 8 * (size_t)threads_count(m->threads);
    m->part = BLOCK_ROWS;
    while (m->part > 16 && n / m->part < share) {
        m->part /= 2;
    }
    if (in_place(m)) {
        size_t fit = smaller(STREAM_BYTES / (m->k * dtype_size(m->w->dtype) + 1), n / share);
        m->part = fit < TILE_ROWS ? TILE_ROWS : fit / TILE_ROWS * TILE_ROWS;
    }
    threads_run(m->threads, (n + m->part - 1) / m->part, matmul_part, m);
}

static void matmul_run(struct multiplication *m, enum precision precision)
{
    bool mixed = m->w_up && m->w_up->dtype != m->w->dtype;
    m->level = kernels_level();
    m->method = method_of(m->level, mixed ? DTYPE_F32 : m->w->dtype, precision == PRECISION_BF16);
    if (!m->method.round) {
        m->made = m->x;
        m->ldx = m->k;
        multiply_rows(m);
        return;
    }
    /* Rounded once, as many rows as there is room for, before all parts read them. */
    m->made = threads_hold_shared(m->threads);
    m->ldx = kernels_packed(m->k);
    size_t all = m->rows, fit = THREADS_SHARED_BYTES / (m->ldx * m->method.x_bytes);
    for (size_t row = 0; row < all; row += m->rows) {
        m->rows = smaller(fit, all - row);
        threads_run(m->threads, m->rows, round_row, m);
        multiply_rows(m);
        m->x += m->rows * m->k;
        m->y += m->rows * m->ldy;
        m->y_up += m->w_up ? m->rows * m->ldy : 0;
    }
    threads_release_shared(m->threads);
}

void kernel_matmul_as(struct threads *threads, enum precision precision, const float *x,
                      size_t rows, const struct tensor *w, float *y)
{
    struct multiplication m = {.threads = threads,
                               .x = x,
                               .rows = rows,
                               .k = w->shape[1],
                               .w = w,
                               .y = y,
                               .ldy = w->shape[0]};
    matmul_run(&m, precision);
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
                               .w = w_gate,
                               .w_up = w_up,
                               .y = gate,
                               .y_up = neurons,
                               .ldy = w_gate->shape[0]};
    matmul_run(&m, precision);
}

void kernel_product(const float *x, size_t rows, size_t ldx, const float *w, size_t n, size_t ldw,
                    size_t k, float scale, float *y, size_t ldy)
{
    struct kernels_piece p = {.x = x,
                              .ldx = ldx,
                              .rows = rows,
                              .w = w,
                              .dtype = DTYPE_F32,
                              .ldw = ldw * sizeof *w,
                              .n = n,
                              .k = k,
                              .y = y,
                              .ldy = ldy};
    struct method method = method_of(kernels_level(), DTYPE_F32, false);
    product_in_place(&method, &p);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < n; c++) {
            y[r * ldy + c] *= scale;
        }
    }
}

/* --- y = x W[:, columns] ---------------------------------------------------------------------- */

#define STREAM_COLUMNS 512 /* 2 KiB of each row of w */
#define STREAM_STEPS 16    /* of k: as many pages at a time */
#define PANEL_STEPS 512
#define PANEL_COLUMNS 256

static void stream_columns(const struct multiplication *m, struct kernels_piece p, size_t first)
{
    p.dtype = m->w->dtype;
    p.ldw = m->w->shape[1] * dtype_size(p.dtype);
    for (size_t k = 0; k < m->k; k += STREAM_STEPS) {
        p.x = m->x + k;
        p.w = element(m->w, k * m->w->shape[1] + first);
        p.k = smaller(STREAM_STEPS, m->k - k);
        p.add = k > 0;
        m->level->columns(&p);
    }
}

/* A panel is one tile wide and contiguous: its reads neither alias in the cache nor leave a page.
 */
static void panel_columns(const struct multiplication *m, struct kernels_piece p, size_t first,
                          float *scratch)
{
    size_t width = m->level->column_width, cols = p.n;
    p.dtype = DTYPE_F32;
    p.ldw = width * sizeof *scratch;
    for (size_t k = 0; k < m->k; k += PANEL_STEPS) {
        p.x = m->x + k;
        p.k = smaller(PANEL_STEPS, m->k - k);
        p.add = k > 0;
        for (size_t i = 0; i < p.k; i++) {
            for (size_t c = 0; c < cols; c += width) {
                m->level->widen(m->w->dtype, element(m->w, (k + i) * m->w->shape[1] + first + c),
                                smaller(width, cols - c), scratch + c * PANEL_STEPS + i * width);
            }
        }
        for (size_t c = 0; c < cols; c += width) {
            struct kernels_piece panel = p;
            panel.w = scratch + c * PANEL_STEPS;
            panel.n = smaller(width, cols - c);
            panel.y = p.y + c;
            m->level->columns(&panel);
        }
    }
}

static void columns_part(void *argument, size_t part, int worker)
{
    const struct multiplication *m = argument;
    size_t offset = part * m->part;
    struct kernels_piece p = {.ldx = m->k,
                              .rows = m->rows,
                              .n = smaller(m->part, m->cols - offset),
                              .y = m->y + offset,
                              .ldy = m->ldy};
    if (m->rows <= m->level->column_rows) {
        stream_columns(m, p, m->first + offset);
    } else {
        panel_columns(m, p, m->first + offset, threads_scratch(m->threads, worker));
    }
}

void kernel_matmul_columns(struct threads *threads, const float *x, size_t rows,
                           const struct tensor *w, size_t first, size_t cols, float *y, size_t ldy)
{
    struct multiplication m = {.threads = threads,
                               .level = kernels_level(),
                               .x = x,
                               .rows = rows,
                               .k = w->shape[0],
                               .w = w,
                               .first = first,
                               .cols = cols,
                               .y = y,
                               .ldy = ldy};
    m.part = rows <= m.level->column_rows ? STREAM_COLUMNS : PANEL_COLUMNS;
    threads_run(threads, (cols + m.part - 1) / m.part, columns_part, &m);
}

void kernel_combine(const float *x, size_t rows, size_t ldx, const float *w, size_t k, size_t ldw,
                    size_t n, float *y, size_t ldy)
{
    struct kernels_piece p = {.x = x,
                              .ldx = ldx,
                              .rows = rows,
                              .w = w,
                              .dtype = DTYPE_F32,
                              .ldw = ldw * sizeof *w,
                              .n = n,
                              .k = k,
                              .y = y,
                              .ldy = ldy};
    kernels_level()->columns(&p);
}

void kernel_add_row(float *y, float a, const struct tensor *w, size_t row)
{
    const struct kernels_level *level = kernels_level();
    size_t n = w->shape[1];
    float piece[1024];
    for (size_t i = 0; i < n; i += 1024) {
        size_t length = smaller(1024, n - i);
        level->widen(w->dtype, element(w, row * n + i), length, piece);
        level->add_scaled(y + i, a, piece, length);
    }
}
