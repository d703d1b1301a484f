/* The points whose rows a caller's vector can be multiplied with, by TransformerLens's names
 * ("blocks.20.hook_resid_post") or ours ("resid_post.20"); docs/model.md has both side by side. */
#ifndef DM_V1_HOOKS_H
#define DM_V1_HOOKS_H

#include "core/base/status.h"
#include "core/gemma/config.h"
#include "core/gemma/point.h"

/* STATUS_INVALID for a name that is no such point, or a layer that the model lacks. *layer is 0
 * where the point has none. */
int hooks_find(const char *name, const struct gemma_config *config, enum point *point, int *layer,
               struct status *st);

#endif
