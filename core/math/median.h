/* The middle of several measurements. */
#ifndef DM_MATH_MEDIAN_H
#define DM_MATH_MEDIAN_H

#include <stddef.h>
#include <stdlib.h>

static inline int median_by_size(const void *a, const void *b)
{
    double u = *(const double *)a, v = *(const double *)b;
    return (u > v) - (u < v);
}

/* values [n], n >= 1; sorts them. */
static inline double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, median_by_size);
    return values[n / 2];
}

#endif
