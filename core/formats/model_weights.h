/* The weights of a model's folder: every shard that model.safetensors.index.json names (its
 * "weight_map" says which tensor lies in which file), or model.safetensors alone. */
#ifndef DM_FORMATS_MODEL_WEIGHTS_H
#define DM_FORMATS_MODEL_WEIGHTS_H

#include "core/base/status.h"
#include "core/formats/safetensors.h"

#include <stddef.h>

/* The index counts if all files that it names exist, else model.safetensors does; where neither is
 * whole the error names the first shard that is missing. An index that names a file outside the
 * folder, or a tensor that its shard does not have, is STATUS_CORRUPT. Close what it gives; after
 * an error there is nothing to close. */
int model_weights_open(const char *folder, struct safetensors ***shards, size_t *n,
                       struct status *st);

void model_weights_close(struct safetensors **shards, size_t n);

#endif
