#include "core/math/cholesky.h"

#include <math.h>

#define ROWS 32    /* of the factor that one thread takes together */
#define COLUMNS 64 /* of the right-hand sides */

struct factor {
    double *a;
    size_t n, k;
};

/* Rows k+1.. lose what row k explains of them. */
static void reduce(void *argument, size_t part, int worker)
{
    (void)worker;
    const struct factor *f = argument;
    const double *row = f->a + f->k * f->n;
    size_t begin = f->k + 1 + part * ROWS;
    size_t end = begin + ROWS < f->n ? begin + ROWS : f->n;
    for (size_t i = begin; i < end; i++) {
        double *to = f->a + i * f->n;
        const double scale = row[i];
        for (size_t j = i; j < f->n; j++) {
            to[j] -= scale * row[j];
        }
    }
}

bool cholesky_factor(struct threads *threads, double *a, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        double *row = a + k * n;
        if (!(row[k] > 0.0)) {
            return false;
        }
        double root = sqrt(row[k]);
        for (size_t j = k; j < n; j++) {
            row[j] /= root;
        }
        struct factor f = {a, n, k};
        threads_run(threads, (n - k - 1 + ROWS - 1) / ROWS, reduce, &f);
    }
    return true;
}

struct solve {
    const double *u;
    size_t n, m;
    double *b;
};

/* Some columns of b: down through U^T, and up again through U. */
static void solve_columns(void *argument, size_t part, int worker)
{
    (void)worker;
    const struct solve *s = argument;
    size_t begin = part * COLUMNS;
    size_t end = begin + COLUMNS < s->m ? begin + COLUMNS : s->m;
    for (size_t k = 0; k < s->n; k++) {
        const double *u = s->u + k * s->n;
        double *row = s->b + k * s->m;
        for (size_t j = begin; j < end; j++) {
            row[j] /= u[k];
        }
        for (size_t i = k + 1; i < s->n; i++) {
            double *to = s->b + i * s->m;
            for (size_t j = begin; j < end; j++) {
                to[j] -= u[i] * row[j];
            }
        }
    }
    for (size_t k = s->n; k-- > 0;) {
        const double *u = s->u + k * s->n;
        double *row = s->b + k * s->m;
        for (size_t i = k + 1; i < s->n; i++) {
            const double *from = s->b + i * s->m;
            for (size_t j = begin; j < end; j++) {
                row[j] -= u[i] * from[j];
            }
        }
        for (size_t j = begin; j < end; j++) {
            row[j] /= u[k];
        }
    }
}

void cholesky_solve(struct threads *threads, const double *u, size_t n, double *b, size_t m)
{
    struct solve s = {u, n, m, b};
    threads_run(threads, (m + COLUMNS - 1) / COLUMNS, solve_columns, &s);
}
