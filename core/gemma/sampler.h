/* Choosing the next token from its logits.
 *
 *     l_i = logit_i - freq_penalty * (times i occurs in the prompt and in what was generated)
 *     temperature 0: the largest l (ties: the lower id)
 *     else: one of softmax(l / temperature) over the top_k largest, of these over the smallest set
 * of the likeliest whose probabilities reach top_p
 *
 * Randomness is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
 * OOPSLA 2014): the same seed, options and logits give the same ids. One number is drawn for each
 * token, none where the temperature is 0. */
#ifndef DM_GEMMA_SAMPLER_H
#define DM_GEMMA_SAMPLER_H

#include "core/base/status.h"

#include <stddef.h>
#include <stdint.h>

struct sampler_options {
    float temperature;  /* >= 0 */
    float freq_penalty; /* 0: none */
    size_t top_k;       /* 0: all */
    float top_p;        /* 0 or >= 1: all */
    uint64_t seed;
};

struct sampler;

int sampler_create(struct sampler **out, const struct sampler_options *options, size_t vocabulary,
                   struct status *st);

/* One more occurrence of each of the ids: the prompt's, then every token generated. */
void sampler_count(struct sampler *sampler, const int32_t *ids, size_t n);

/* logits [vocabulary], after the final softcap -> the id chosen. */
int32_t sampler_pick(struct sampler *sampler, const float *logits);

void sampler_destroy(struct sampler *sampler); /* NULL is fine */

/* log softmax(logits)[id] for id, and for the n likeliest, falling (ties: the lower id). The logits
 * are those of the model: before penalty and temperature. n <= vocabulary. */
float sampler_logprob(const float *logits, size_t vocabulary, int32_t id, size_t n,
                      int32_t *top_ids, float *top_logprobs);

#endif
