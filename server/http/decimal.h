/* The shortest decimal that reads back as the same number, in the form of Python's repr, except
 * that whole numbers have no ".0": 17, 0.33333334, 1e-05, 1e+16, -0.0. */
#ifndef DM_HTTP_DECIMAL_H
#define DM_HTTP_DECIMAL_H

#include <stddef.h>

#define DECIMAL_MAX 40 /* bytes; more than either writes */

/* Write without a NUL and return the length. value must be finite. */
size_t decimal_float(float value, char out[DECIMAL_MAX]);
size_t decimal_double(double value, char out[DECIMAL_MAX]);

/* The same of value rounded to `decimals` places, 0 .. 30, ties to even, as Python's round does. */
#define DECIMAL_PLACES 30
size_t decimal_rounded(double value, int decimals, char out[DECIMAL_MAX]);

size_t decimal_integer(long long value, char out[DECIMAL_MAX]);

#endif
