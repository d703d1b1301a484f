/* The field `positions` of a request: which tokens of the prompt are meant. */
#ifndef DM_V1_POSITION_LIST_H
#define DM_V1_POSITION_LIST_H

#include "server/v1/fields.h"

#include <stdint.h>

/* "all" (or absent) -> NULL; a list of whole numbers, negative ones from the end of n_tokens ->
 * memory_alloc'd [*n] in the order given, each in 0..n_tokens-1. What is wrong stands in f->st. */
int32_t *position_list_read(struct fields *f, size_t n_tokens, size_t *n);

#endif
