/* Positions in a request: which tokens of the prompt are meant, and which are sorted by. */
#ifndef DM_V1_POSITION_LIST_H
#define DM_V1_POSITION_LIST_H

#include "server/v1/fields.h"
#include "server/v1/prompts.h"

#include <stdint.h>

/* "all" (or absent) -> NULL; a list of whole numbers, negative ones from the end of n_tokens ->
 * memory_alloc'd [*n] in the order given, each in 0..n_tokens-1. What is wrong stands in f->st. */
int32_t *position_list_read(struct fields *f, size_t n_tokens, size_t *n);

/* Writes to `to` (room for all of them) the positions that a list says to sort by (NULL: none),
 * each of which every prompt must have; `field` is the list's name. Returns how many, in f->st what
 * is wrong with them. */
size_t position_list_sort(struct fields *f, const char *field, const cJSON *list,
                          const struct prompts *prompts, size_t *to);

#endif
