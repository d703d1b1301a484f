/* The bytes of one token's active features, as the activation table keeps them (other programs may
 * read them; docs/database.md shows it in Python):
 *     varint n; n varints: first index, then differences to the one before; n float32, little
 * endian varint: 7 bits a byte, lowest first, high bit set on all but the last (LEB128). */
#ifndef DM_STORE_BLOB_H
#define DM_STORE_BLOB_H

#include "core/base/sparse.h"
#include "core/base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Appends the row; indices must rise. out->failed when memory ran out. */
void blob_encode(struct text *out, const uint32_t *index, const float *value, size_t n);

/* Appends one row to *rows; false (nothing appended) if the bytes are not such a blob, to the end.
 * Also false when memory ran out: rows->failed says so. */
bool blob_decode(const void *bytes, size_t n, struct sparse *rows);

#endif
