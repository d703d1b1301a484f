/* Tuned lenses (Belrose et al., "Eliciting Latent Predictions from Transformers with the Tuned
 * Lens", arXiv 2303.08112): a trained affine map a row goes through before it is unembedded,
 *
 *     x + A x + b
 *
 * The file is a safetensors file with, for each point and layer that has one, `SITE.LAYER.weight` A
 * [D, D] and `SITE.LAYER.bias` b [D], e.g. "resid_post.3.weight"; b may be missing. "3.weight", as
 * the tuned-lens package names its maps, is resid_pre.3. */
#ifndef DM_LENS_TUNED_H
#define DM_LENS_TUNED_H

#include "core/base/status.h"
#include "core/base/threads.h"
#include "core/gemma/config.h"
#include "core/gemma/point.h"

#include <stdbool.h>
#include <stddef.h>

struct tuned;

/* Maps the file. STATUS_CORRUPT with file, tensor, expected and found for a name that is no point
 * and layer of this model, a shape that does not fit, or a file without any map. */
int tuned_open(struct tuned **out, const char *path, const struct gemma_config *config,
               struct status *st);
void tuned_close(struct tuned *tuned); /* NULL is fine */

/* The file's name without its folder and ".safetensors": what requests call it. */
const char *tuned_name(const struct tuned *tuned);

/* Whether rows of the point have a map. */
bool tuned_has(const struct tuned *tuned, enum point point, int layer);

/* x [rows, D] of the point goes through its map; rows of a point without one stay as they are.
 * STATUS_CORRUPT if the file was written since it was opened. */
int tuned_apply(const struct tuned *tuned, struct threads *threads, enum point point, int layer,
                float *x, size_t rows, struct status *st);

#endif
