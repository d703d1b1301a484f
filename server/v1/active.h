/* Active features of a prompt by feature, as Neuronpedia lists them. */
#ifndef DM_V1_ACTIVE_H
#define DM_V1_ACTIVE_H

#include "core/base/sparse.h"
#include "server/http/emit.h"

#include <stddef.h>

/* {"feature": [[position, value], ...]} of the rows from `first`, features and positions rising,
 * values rounded to 3 decimals. */
void active_write(struct emitter *w, const struct sparse *rows, size_t first);

#endif
