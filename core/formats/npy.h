/* The header of a .npy array (numpy.lib.format, versions 1.0, 2.0 and 3.0). */
#ifndef DM_FORMATS_NPY_H
#define DM_FORMATS_NPY_H

#include "core/base/status.h"
#include "core/formats/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NPY_PREFIX 12          /* magic, version and length take at most this much */
#define NPY_HEADER_LIMIT 65535 /* what version 1 can say; numpy itself reads no more than 10000 */

struct npy {
    struct tensor tensor; /* F32, F16 or F64 as stored; data is NULL */
    bool fortran;         /* the first index runs fastest */
    size_t data_offset;   /* of the array's bytes in the member */
    size_t data_bytes;
};

/* Reads the header from the first n bytes of a member of `size` bytes; n is the smaller of size and
 * NPY_PREFIX + NPY_HEADER_LIMIT. The array must fill the member exactly. STATUS_UNSUPPORTED for
 * other types (big endian, integers, records) and more than TENSOR_DIMENSIONS dimensions. */
int npy_parse(struct npy *npy, const uint8_t *bytes, size_t n, size_t size, const char *file,
              const char *name, struct status *st);

#endif
