/* Linear systems with a symmetric positive definite matrix, in double. */
#ifndef DM_MATH_CHOLESKY_H
#define DM_MATH_CHOLESKY_H

#include "core/base/threads.h"

#include <stdbool.h>
#include <stddef.h>

/* The upper triangle of a [n, n] becomes U with U^T U = a (its lower triangle is not looked at).
 * False if a is not positive definite. */
bool cholesky_factor(struct threads *threads, double *a, size_t n);

/* b [n, m] becomes the x of U^T U x = b. */
void cholesky_solve(struct threads *threads, const double *u, size_t n, double *b, size_t m);

#endif
