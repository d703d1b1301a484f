/* How much of a vector e is a linear function of another one x: least squares e ~ A x + b over
 * streamed rows, judged on rows that the fit has not seen (Engels et al., arXiv 2410.14670, section
 * 4, for the errors of SAEs).
 *
 * Only second moments are kept, in double, of both parts of the rows: 2 (d^2 + d m) numbers. The
 * held-out residual follows from them, so no row is read twice. */
#ifndef DM_LENS_LINEAR_H
#define DM_LENS_LINEAR_H

#include "core/base/status.h"
#include "core/base/threads.h"

#include <stdbool.h>
#include <stddef.h>

struct linear {
    size_t d, m;   /* numbers of x and of e */
    double *block; /* [doubles] everything that was counted, for keeping */
    size_t doubles;
};

int linear_create(struct linear *linear, size_t d, size_t m, struct status *st);
void linear_free(struct linear *linear); /* safe on a zeroed struct */

/* x [rows, d], e [rows, m]. */
void linear_add(struct linear *linear, struct threads *threads, bool held_out, const float *x,
                const float *e, size_t rows);

size_t linear_rows(const struct linear *linear, bool held_out);

/* R^2 on the held-out rows, 1 - sum |e - A x - b|^2 / sum |e - mean e|^2: over the first m - 1
 * numbers of e together, and of its last one. The ridge on A is 1e-8 of the variance of each number
 * of x. NaN where fewer than 2 (d + 1) rows were fitted or fewer than 2 held out. */
int linear_fit(const struct linear *linear, struct threads *threads, double *r2, double *r2_last,
               struct status *st);

#endif
