/* Matrix products over weights as they are stored.
 *
 * Few rows (a token or two being decoded): the weights are widened in registers while they stream
 * past, once. Many rows: a block of them is widened into the worker's scratch, where it stays in
 * the second level cache while every row of x is multiplied with it. Both add in the same order. */
#include "core/math/kernels.h"
#include "core/math/kernels_level.h"

/* Weight rows that are packed together, fewer where that leaves a thread without work, and bytes of
 * weights that are streamed as one part. */
#define BLOCK_ROWS 128
#define STREAM_BYTES ((size_t)128 << 10)

struct multiplication {
    struct threads *threads;
    const struct kernels_level *level;
    const float *x;
    size_t rows, k;
    const struct tensor *w, *w_up; /* w_up: in kernel_geglu */
    size_t first, cols;            /* which columns, in kernel_matmul_columns */
    float *y, *y_up;
    size_t ldy;
    size_t part;  /* weight rows, or columns, of one part */
    bool rounded; /* x to bf16 */
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

/* What a product is made with: on x as it is, or rounded. */
struct method {
    size_t block; /* of k */
    size_t x_bytes, w_bytes;
    void (*round)(const float *x, size_t n, void *to); /* NULL: x is used where it is */
    void (*pack)(const struct kernels_piece *p, float *to);
    void (*product)(const struct kernels_piece *p);
};

static struct method method_of(const struct kernels_level *level, enum dtype dtype, bool rounded)
{
    const struct kernels_rounded *r =
        dtype == DTYPE_BF16 && level->rounded_bf16.block ? &level->rounded_bf16 : &level->rounded;
    return rounded
               ? (struct method){r->block, r->x_bytes, r->w_bytes, r->round, r->pack, r->product}
               : (struct method){KERNELS_BLOCK, sizeof(float), sizeof(float),
                                 NULL,          level->pack,   level->product};
}

/* All of k, four rows of w at a time, so that w is read from its first byte to its last. */
static void product_in_place(const struct method *method, const struct kernels_piece *whole)
{
    size_t block = kernels_block(whole->k, method->block);
    size_t columns = block < whole->k ? 4 : whole->n;
    for (size_t c = 0; c < whole->n; c += columns) {
        for (size_t k = 0; k < whole->k; k += block) {
            struct kernels_piece p = *whole;
            p.x = (const unsigned char *)p.x + k * method->x_bytes;
            p.w = (const unsigned char *)p.w + c * p.ldw + k * dtype_size(p.dtype);
            p.n = smaller(columns, whole->n - c);
            p.k = smaller(block, whole->k - k);
            p.add = k > 0;
            p.y += c;
            method->product(&p);
        }
    }
}

/* rows of x from k on, kb of each, into `to`; *ldx is how far apart they lie there. */
static void round_rows(const struct multiplication *m, const struct method *method, size_t row,
                       size_t rows, size_t k, size_t kb, unsigned char *to, size_t *ldx)
{
    *ldx = kernels_packed(kb);
    for (size_t r = 0; r < rows; r++) {
        method->round(m->x + (row + r) * m->k + k, kb, to + r * *ldx * method->x_bytes);
    }
}

/* One block of k: p's weights are packed, then multiplied with as many rows as fit. */
static void block_of_k(const struct multiplication *m, const struct method *method,
                       struct kernels_piece p, size_t k, unsigned char *scratch)
{
    size_t packed = kernels_packed(p.k);
    size_t used = (p.n + 3) / 4 * 4 * packed * method->w_bytes;
    size_t chunk = m->rows;
    method->pack(&p, (float *)(void *)scratch);
    p.w = scratch;
    p.packed = true;
    p.dtype = DTYPE_F32;
    p.ldw = packed * method->w_bytes;
    if (method->round) {
        chunk = smaller(chunk, (THREADS_SCRATCH_BYTES - used) / (packed * method->x_bytes));
    }
    for (size_t row = 0; row < m->rows; row += chunk) {
        struct kernels_piece q = p;
        q.rows = smaller(chunk, m->rows - row);
        q.x = m->x + row * m->k + k;
        q.y += row * p.ldy;
        if (method->round) {
            round_rows(m, method, row, q.rows, k, p.k, scratch + used, &q.ldx);
            q.x = scratch + used;
        }
        method->product(&q);
        p.ahead_n = 0; /* asked for once */
    }
}

/* Columns first .. first+n of y, from as many rows of w. */
static void matmul_columns(const struct multiplication *m, const struct tensor *w, size_t first,
                           float *y, unsigned char *scratch)
{
    struct method method = method_of(m->level, w->dtype, m->rounded);
    struct kernels_piece p = {.x = m->x,
                              .ldx = m->k,
                              .rows = m->rows,
                              .w = element(w, first * m->k),
                              .dtype = w->dtype,
                              .ldw = m->k * dtype_size(w->dtype),
                              .n = smaller(m->part, w->shape[0] - first),
                              .k = m->k,
                              .y = y + first,
                              .ldy = m->ldy};
    if (m->rows <= m->level->product_rows &&
        (!method.round ||
         m->rows * kernels_packed(m->k) <= THREADS_SCRATCH_BYTES / method.x_bytes)) {
        if (method.round) {
            round_rows(m, &method, 0, m->rows, 0, m->k, scratch, &p.ldx);
            p.x = scratch;
        }
        product_in_place(&method, &p);
        return;
    }
    /* When this part is done, the other threads have probably taken the parts between. */
    size_t later = first + (size_t)threads_count(m->threads) * m->part;
    size_t block = kernels_block(m->k, method.block);
    p.ahead_ld = p.ldw;
    for (size_t k = 0; k < m->k; k += block) {
        bool last = m->k - k <= block;
        size_t next = last ? later : first;
        p.k = smaller(block, m->k - k);
        p.add = k > 0;
        p.ahead_n = next < w->shape[0] ? smaller(p.n, w->shape[0] - next) : 0;
        p.ahead = p.ahead_n ? element(w, next * m->k + (last ? 0 : k + block)) : NULL;
        p.w = element(w, first * m->k + k);
        block_of_k(m, &method, p, k, scratch);
    }
}

static void matmul_part(void *argument, size_t part, int worker)
{
    const struct multiplication *m = argument;
    unsigned char *scratch = threads_scratch(m->threads, worker);
    size_t first = part * m->part;
    size_t n = smaller(m->part, m->ldy - first);
    matmul_columns(m, m->w, first, m->y, scratch);
    if (!m->w_up) {
        return;
    }
    matmul_columns(m, m->w_up, first, m->y_up, scratch);
    for (size_t r = 0; r < m->rows; r++) { /* while both are still in the cache */
        float *gate = m->y + r * m->ldy + first;
        float *up = m->y_up + r * m->ldy + first;
        m->level->gelu(gate, n);
        m->level->multiply(gate, up, n, up);
    }
}

static void matmul_run(struct multiplication *m)
{
    size_t n = m->ldy;
    m->part = BLOCK_ROWS;
    while (m->part > 16 && n / m->part < 8 * (size_t)threads_count(m->threads)) {
        m->part /= 2;
    }
    if (m->rows <= m->level->product_rows) {
        size_t fit = STREAM_BYTES / (m->k * dtype_size(m->w->dtype) + 1) / 4 * 4;
        m->part = fit < 4 ? 4 : fit;
    }
    threads_run(m->threads, (n + m->part - 1) / m->part, matmul_part, m);
}

void kernel_matmul_as(struct threads *threads, enum precision precision, const float *x,
                      size_t rows, const struct tensor *w, float *y)
{
    struct multiplication m = {.threads = threads,
                               .level = kernels_level(),
                               .x = x,
                               .rows = rows,
                               .k = w->shape[1],
                               .w = w,
                               .y = y,
                               .ldy = w->shape[0],
                               .rounded = precision == PRECISION_BF16};
    matmul_run(&m);
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
                               .level = kernels_level(),
                               .x = x,
                               .rows = rows,
                               .k = w_gate->shape[1],
                               .w = w_gate,
                               .w_up = w_up,
                               .y = gate,
                               .y_up = neurons,
                               .ldy = w_gate->shape[0],
                               .rounded = precision == PRECISION_BF16};
    matmul_run(&m);
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
