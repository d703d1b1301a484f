/* What a vector of the residual stream says about the next token: the logit lens (nostalgebraist,
 * 2020) and the logits of a feature's decoder row. */
#ifndef DM_LENS_LENS_H
#define DM_LENS_LENS_H

#include "core/base/threads.h"
#include "core/gemma/weights.h"

/* x [rows, D] -> logits [rows, V]: final norm, unembedding, final softcap. */
int lens_logits(const struct weights *weights, struct threads *threads, const float *x, size_t rows,
                float *logits, struct status *st);

/* v [D] -> logits [V]: U . v, without norm and softcap, as Neuronpedia's dashboards have it; with
 * final_gain set v is multiplied by the final norm's 1 + w first. */
int lens_vector_logits(const struct weights *weights, struct threads *threads, const float *v,
                       bool final_gain, float *logits, struct status *st);

#endif
