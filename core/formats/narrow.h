/* float32 to the types of two bytes, to the nearest, ties to even. A NaN stays one; what is too
 * large becomes infinite, which the caller may not want (see narrow_all). */
#ifndef DM_FORMATS_NARROW_H
#define DM_FORMATS_NARROW_H

#include "core/formats/tensor.h"

#include <stdint.h>

uint16_t narrow_bf16(float value);
uint16_t narrow_f16(float value);

/* values [n] -> to [n], as dtype: DTYPE_F32, DTYPE_BF16 or DTYPE_F16. Returns n, or the index of
 * the first finite value that became infinite. */
size_t narrow_all(const float *values, size_t n, enum dtype dtype, void *to);

#endif
