/* Rows of a sparse matrix (compressed rows): row r has the entries start[r] .. start[r+1]-1, their
 * columns rising. For a prompt this is "which features are active on which token". */
#ifndef DM_BASE_SPARSE_H
#define DM_BASE_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Start with `struct sparse s = {0};`, end with sparse_free. */
struct sparse {
    size_t rows;
    size_t *start;   /* [rows + 1], NULL while rows is 0 */
    uint32_t *index; /* [start[rows]] */
    float *value;    /* [start[rows]] */
    size_t capacity_rows, capacity_entries;
    bool failed; /* an allocation failed; every later append does nothing */
};

/* Appends one row of n entries; columns must rise. */
void sparse_append(struct sparse *s, const uint32_t *index, const float *value, size_t n);

/* The value at (row, column), 0 if the row has no such entry. */
float sparse_get(const struct sparse *s, size_t row, uint32_t column);

void sparse_clear(struct sparse *s); /* no rows, memory kept */
void sparse_free(struct sparse *s);

#endif
