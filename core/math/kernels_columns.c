/* Products over columns of weights as they are stored: SAEs keep W_enc as [d_in, d_sae].
 *
 * Few rows of x: columns are widened in registers while they stream past. Many: a panel of them is
 * widened into the worker's scratch first. */
#include "core/math/kernels.h"
#include "core/math/kernels_level.h"

#define STREAM_COLUMNS 512 /* 2 KiB of each row of w */
#define STREAM_STEPS 16    /* of k: as many pages at a time */
#define PANEL_STEPS 512
#define PANEL_COLUMNS 256

struct multiplication {
    struct threads *threads;
    const struct kernels_level *level;
    const float *x;
    size_t rows, k;
    const struct tensor *w;
    size_t first, cols; /* which columns */
    float *y;
    size_t ldy;
    size_t part; /* columns of one part */
};

static void stream_columns(const struct multiplication *m, struct kernels_piece p, size_t first)
{
    p.dtype = m->w->dtype;
    p.ldw = m->w->shape[1] * dtype_size(p.dtype);
    for (size_t k = 0; k < m->k; k += STREAM_STEPS) {
        p.x = m->x + k;
        p.w = kernels_element(m->w, k * m->w->shape[1] + first);
        p.k = kernels_smaller(STREAM_STEPS, m->k - k);
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
        p.k = kernels_smaller(PANEL_STEPS, m->k - k);
        p.add = k > 0;
        for (size_t i = 0; i < p.k; i++) {
            for (size_t c = 0; c < cols; c += width) {
                m->level->widen(
                    m->w->dtype, kernels_element(m->w, (k + i) * m->w->shape[1] + first + c),
                    kernels_smaller(width, cols - c), scratch + c * PANEL_STEPS + i * width);
            }
        }
        for (size_t c = 0; c < cols; c += width) {
            struct kernels_piece panel = p;
            panel.w = scratch + c * PANEL_STEPS;
            panel.n = kernels_smaller(width, cols - c);
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
                              .n = kernels_smaller(m->part, m->cols - offset),
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
    struct kernels_piece p = kernels_floats(x, rows, ldx, w, n, ldw, k, y, ldy);
    kernels_level()->columns(&p);
}

void kernel_add_row(float *y, float a, const struct tensor *w, size_t row)
{
    const struct kernels_level *level = kernels_level();
    size_t n = w->shape[1];
    float piece[1024];
    for (size_t i = 0; i < n; i += 1024) {
        size_t length = kernels_smaller(1024, n - i);
        level->widen(w->dtype, kernels_element(w, row * n + i), length, piece);
        level->add_scaled(y + i, a, piece, length);
    }
}
