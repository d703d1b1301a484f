/* The largest of many values, in order. */
#ifndef DM_MATH_TOP_H
#define DM_MATH_TOP_H

#include <stddef.h>
#include <stdint.h>

/* The `top` largest of values [n], best first, ties to the lower index -> index and best [top].
 * Returns how many there are: n where that is less. NaN is never among them. */
size_t top_pick(const float *values, size_t n, size_t top, int32_t *index, float *best);

#endif
