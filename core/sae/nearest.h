/* The rows of a matrix that point most the same way as a vector. */
#ifndef DM_SAE_NEAREST_H
#define DM_SAE_NEAREST_H

#include "core/base/status.h"
#include "core/base/threads.h"

#include <stddef.h>
#include <stdint.h>

/* Row j of the matrix -> out [width]; called from several threads. */
typedef void nearest_row(const void *matrix, size_t j, float *out);

/* The n rows of largest cosine with vector [width], falling (ties: lower index first) into index
 * and cosine [n]; *found <= n of them. A zero row or vector has no cosine and is left out. */
int nearest_find(struct threads *threads, nearest_row *row, const void *matrix, size_t n_rows,
                 size_t width, const float *vector, size_t n, uint32_t *index, float *cosine,
                 size_t *found, struct status *st);

#endif
