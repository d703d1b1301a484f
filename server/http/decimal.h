/* The shortest decimal that reads back as the same number, in the form of Python's repr, except
 * that whole numbers have no ".0": 17, 0.33333334, 1e-05, 1e+16, -0.0. */
#ifndef DM_HTTP_DECIMAL_H
#define DM_HTTP_DECIMAL_H

#include <stddef.h>

#define DECIMAL_MAX 40 /* bytes; more than either writes */

/* Write without a NUL and return the length. value must be finite. */
size_t decimal_float(float value, char out[DECIMAL_MAX]);
size_t decimal_double(double value, char out[DECIMAL_MAX]);

#endif
