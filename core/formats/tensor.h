/* A tensor as it lies in a file: where, what type, what shape. Nothing is copied or converted. */
#ifndef DM_FORMATS_TENSOR_H
#define DM_FORMATS_TENSOR_H

#include "core/base/hash.h"
#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_F64,
    DTYPE_I32,
    DTYPE_I64,
    DTYPE_U8,
    DTYPE_OTHER
};

#define TENSOR_DIMENSIONS 4

/* data is borrowed from the file it was found in, valid until that file is closed, and need not be
 * aligned (npz members lie where the zip puts them): read through tensor_get or a kernel. */
struct tensor {
    const void *data;
    enum dtype dtype;
    int n_dims;
    size_t shape[TENSOR_DIMENSIONS]; /* row-major; entries from n_dims on are 1 */
};

size_t dtype_size(enum dtype dtype); /* bytes of one element, 0 for DTYPE_OTHER */
const char *dtype_name(enum dtype dtype);

size_t tensor_elements(const struct tensor *t);
size_t tensor_bytes(const struct tensor *t);

/* The same for a shape that a file claims: false if the count or the bytes do not fit. */
bool tensor_checked_bytes(const struct tensor *t, size_t *bytes);

/* Element i in row-major order, widened; for F32, F16, BF16 and F64 only. */
float tensor_get(const struct tensor *t, size_t i);

/* Widens n elements from `first` on into out. */
void tensor_widen(const struct tensor *t, size_t first, size_t n, float *out);

/* STATUS_CORRUPT with file, name, expected and found unless t has exactly these dimensions and a
 * floating type that kernels read (F32, F16, BF16). A NULL t is "not there". */
int tensor_expect(const struct tensor *t, const char *file, const char *name, int n_dims,
                  const size_t *shape, struct status *st);

/* Adds type, shape and 32 evenly spread samples of the contents: a fine-tune has the same header.
 */
void tensor_hash(const struct tensor *t, struct hash *h);

/* "[256, 1024]" into buffer; returns buffer. */
const char *tensor_shape_text(const struct tensor *t, char *buffer, size_t size);

#endif
