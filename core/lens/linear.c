#include "core/lens/linear.h"

#include "core/base/memory.h"
#include "core/math/cholesky.h"
#include "core/math/outer.h"

#include <math.h>
#include <string.h>

#define RIDGE 1e-8  /* of a number's own variance */
#define FLOOR 1e-15 /* of all variance: numbers that do not vary */
#define COLUMNS 64  /* of A that one thread takes together */

/* One part of the rows, as it lies in the block. */
struct part {
    double *n;  /* [1] rows */
    double *x;  /* [d] sums */
    double *e;  /* [m] */
    double *ee; /* [m] sums of squares */
    double *xx; /* [d, d] the upper triangle */
    double *xe; /* [d, m] */
};

static struct part part_of(const struct linear *l, bool held_out)
{
    size_t d = l->d, m = l->m;
    double *at = l->block + (held_out ? l->doubles / 2 : 0);
    return (struct part){.n = at,
                         .x = at + 1,
                         .e = at + 1 + d,
                         .ee = at + 1 + d + m,
                         .xx = at + 1 + d + 2 * m,
                         .xe = at + 1 + d + 2 * m + d * d};
}

int linear_create(struct linear *l, size_t d, size_t m, struct status *st)
{
    *l = (struct linear){.d = d, .m = m, .doubles = 2 * (1 + d + 2 * m + d * d + d * m)};
    l->block = memory_zalloc(l->doubles, sizeof *l->block);
    return l->block ? STATUS_OK : status_no_memory(st, l->doubles * sizeof *l->block);
}

void linear_free(struct linear *l)
{
    memory_free(l->block);
    l->block = NULL;
}

void linear_add(struct linear *l, struct threads *threads, bool held_out, const float *x,
                const float *e, size_t rows)
{
    struct part p = part_of(l, held_out);
    *p.n += (double)rows;
    for (size_t t = 0; t < rows; t++) {
        for (size_t i = 0; i < l->d; i++) {
            p.x[i] += (double)x[t * l->d + i];
        }
        for (size_t j = 0; j < l->m; j++) {
            double value = (double)e[t * l->m + j];
            p.e[j] += value;
            p.ee[j] += value * value;
        }
    }
    outer_add(threads, x, rows, l->d, x, l->d, true, p.xx);
    outer_add(threads, x, rows, l->d, e, l->m, false, p.xe);
}

size_t linear_rows(const struct linear *l, bool held_out)
{
    return (size_t)*part_of(l, held_out).n;
}

/* --- the fit ---------------------------------------------------------------------------------- */

struct fit {
    const struct linear *l;
    double *c; /* [d, d] U of the fitted part; then moments of the held-out one about the fitted
                  part's means, both triangles */
    double *a; /* [d, m] A */
    double *h; /* [d, m] held-out moments of x and e about the same means */
    double *explained; /* [m] held-out sum |e - A x - b|^2 - sum |e - mean of the fitted|^2 */
};

/* Moments about the means of the part `about`: xx [d, d] whole, xe [d, m]. */
static void centre(const struct linear *l, struct part p, struct part about, double *xx, double *xe)
{
    size_t d = l->d, m = l->m;
    double n = *p.n, k = *about.n;
    for (size_t i = 0; i < d; i++) {
        double mean = about.x[i] / k;
        for (size_t j = i; j < d; j++) {
            double other = about.x[j] / k;
            xx[i * d + j] = p.xx[i * d + j] - mean * p.x[j] - other * p.x[i] + n * mean * other;
            xx[j * d + i] = xx[i * d + j];
        }
        for (size_t j = 0; j < m; j++) {
            double other = about.e[j] / k;
            xe[i * m + j] = p.xe[i * m + j] - mean * p.e[j] - other * p.x[i] + n * mean * other;
        }
    }
}

/* Some columns of A: a^T C a - 2 a^T h of each. */
static void explain(void *argument, size_t part, int worker)
{
    (void)worker;
    const struct fit *f = argument;
    size_t d = f->l->d, m = f->l->m, begin = part * COLUMNS;
    size_t n = m - begin < COLUMNS ? m - begin : COLUMNS;
    double sum[COLUMNS] = {0}, product[COLUMNS];
    for (size_t i = 0; i < d; i++) {
        const double *h = f->h + i * m + begin, *own = f->a + i * m + begin;
        memset(product, 0, sizeof product);
        for (size_t k = 0; k < d; k++) {
            const double *a = f->a + k * m + begin;
            const double c = f->c[i * d + k];
            for (size_t j = 0; j < n; j++) {
                product[j] += c * a[j];
            }
        }
        for (size_t j = 0; j < n; j++) {
            sum[j] += own[j] * (product[j] - 2.0 * h[j]);
        }
    }
    memcpy(f->explained + begin, sum, n * sizeof *sum);
}

static bool solve(const struct fit *f, struct threads *threads, struct part fitted)
{
    size_t d = f->l->d;
    double trace = 0.0;
    centre(f->l, fitted, fitted, f->c, f->a);
    for (size_t i = 0; i < d; i++) {
        trace += f->c[i * d + i];
    }
    for (size_t i = 0; i < d; i++) {
        f->c[i * d + i] += RIDGE * fabs(f->c[i * d + i]) + FLOOR * trace;
    }
    if (!(trace > 0.0) || !cholesky_factor(threads, f->c, d)) {
        return false;
    }
    cholesky_solve(threads, f->c, d, f->a, f->l->m);
    return true;
}

/* 1 - residual / variance over the numbers from..to-1 of e. */
static double share(const struct fit *f, struct part fitted, struct part held, size_t from,
                    size_t to)
{
    double residual = 0.0, variance = 0.0, n = *held.n;
    for (size_t j = from; j < to; j++) {
        double mean = fitted.e[j] / *fitted.n;
        residual += held.ee[j] - 2.0 * mean * held.e[j] + n * mean * mean + f->explained[j];
        variance += held.ee[j] - held.e[j] * held.e[j] / n;
    }
    return variance > 0.0 ? 1.0 - residual / variance : (double)NAN;
}

int linear_fit(const struct linear *l, struct threads *threads, double *r2, double *r2_last,
               struct status *st)
{
    size_t d = l->d, m = l->m;
    struct part fitted = part_of(l, false), held = part_of(l, true);
    *r2 = *r2_last = (double)NAN;
    if (*fitted.n < 2.0 * (double)(d + 1) || *held.n < 2.0) {
        return STATUS_OK;
    }
    double *block = memory_alloc(d * d + 2 * d * m + m, sizeof *block);
    if (!block) {
        return status_no_memory(st, (d * d + 2 * d * m + m) * sizeof *block);
    }
    struct fit f = {.l = l,
                    .c = block,
                    .a = block + d * d,
                    .h = block + d * d + d * m,
                    .explained = block + d * d + 2 * d * m};
    if (solve(&f, threads, fitted)) {
        centre(l, held, fitted, f.c, f.h);
        threads_run(threads, (m + COLUMNS - 1) / COLUMNS, explain, &f);
        *r2 = share(&f, fitted, held, 0, m - 1);
        *r2_last = share(&f, fitted, held, m - 1, m);
    }
    memory_free(block);
    return STATUS_OK;
}
