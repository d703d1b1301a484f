/* Sums of outer products in double: the moments that a least-squares fit is made of. */
#ifndef DM_MATH_OUTER_H
#define DM_MATH_OUTER_H

#include "core/base/threads.h"

#include <stdbool.h>
#include <stddef.h>

/* sum [k, n] += x^T y for x [rows, k] and y [rows, n]. With upper (y is x then, k = n) only the
 * entries with column >= row. The rows are added in their order, however many threads run. */
void outer_add(struct threads *threads, const float *x, size_t rows, size_t k, const float *y,
               size_t n, bool upper, double *sum);

#endif
