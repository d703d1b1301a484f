/* Direct logit attribution with frozen norms: what a part of the residual stream adds to a token's
 * logit before the softcap (gemma.md section 8 of the design; docs/model.md, "Attribution").
 *
 *     r = 1 / sqrt(mean(x^2) + eps), x what the last layer leaves at the position
 *     u = r (U[token] * gamma), gamma the final norm's 1 + w: a vector v of the stream adds u . v
 *
 * A sublayer's output is normed before it is added. With its rms frozen as well, what its matrix W
 * makes of y is gain * (W y) / rms, so that y adds (W^T (gain * u / rms)) . y: the direction is
 * pulled back, and split at will (heads, neurons, an SAE's rows). */
#ifndef DM_LENS_DIRECT_H
#define DM_LENS_DIRECT_H

#include "core/base/status.h"
#include "core/base/threads.h"
#include "core/gemma/point.h"
#include "core/gemma/weights.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether rows of the point add to the logits in this way. */
bool direct_leads(enum point point);

/* u [n, D] of the tokens; x [D]. */
void direct_directions(const struct weights *weights, const int32_t *tokens, size_t n,
                       const float *x, float *u);

/* Pulls u [n, D] back to rows of the point, which direct_leads takes -> out [n, point_width]. raw
 * [D] is attn_out_raw or mlp_out_raw at the position, whichever lies behind the point; NULL where
 * none does. */
int direct_pull(const struct weights *weights, struct threads *threads, enum point point, int layer,
                const float *raw, const float *u, size_t n, float *out, struct status *st);

/* a . b in double. */
double direct_dot(const float *a, const float *b, size_t n);

/* One of many parts. */
struct direct_part {
    uint32_t index;
    float activation; /* the neuron, or the feature */
    float value;      /* what it adds to the logit */
};

/* Brings the `top` parts of largest magnitude to the front, falling, ties to the lower index; parts
 * come by rising index. Returns how many there are. */
size_t direct_largest(struct direct_part *parts, size_t n, size_t top);

#endif
