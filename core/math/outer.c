#include "core/math/outer.h"

#define BLOCK 16 /* rows of `sum` that one thread takes together */

struct work {
    const float *x, *y;
    size_t rows, k, n;
    bool upper;
    double *sum;
};

/* Four outer products at a time, so that the sums are read and written less often. */
static void add_row(const struct work *w, size_t i)
{
    size_t k = w->k, n = w->n, t = 0;
    double *sum = w->sum + i * n;
    for (; w->rows - t >= 4; t += 4) {
        const float *y = w->y + t * n;
        const double a = (double)w->x[t * k + i], b = (double)w->x[(t + 1) * k + i];
        const double c = (double)w->x[(t + 2) * k + i], d = (double)w->x[(t + 3) * k + i];
        for (size_t j = w->upper ? i : 0; j < n; j++) {
            sum[j] += (a * (double)y[j] + b * (double)y[n + j]) +
                      (c * (double)y[2 * n + j] + d * (double)y[3 * n + j]);
        }
    }
    for (; t < w->rows; t++) {
        const double a = (double)w->x[t * k + i];
        for (size_t j = w->upper ? i : 0; j < n; j++) {
            sum[j] += a * (double)w->y[t * n + j];
        }
    }
}

static void add_block(void *argument, size_t part, int worker)
{
    (void)worker;
    const struct work *w = argument;
    size_t end = (part + 1) * BLOCK < w->k ? (part + 1) * BLOCK : w->k;
    for (size_t i = part * BLOCK; i < end; i++) {
        add_row(w, i);
    }
}

void outer_add(struct threads *threads, const float *x, size_t rows, size_t k, const float *y,
               size_t n, bool upper, double *sum)
{
    struct work w = {.x = x, .y = y, .rows = rows, .k = k, .n = n, .upper = upper, .sum = sum};
    threads_run(threads, (k + BLOCK - 1) / BLOCK, add_block, &w);
}
