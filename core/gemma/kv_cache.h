/* Keys and values of one sequence, kept between runs so that decoding reads each token once.
 *
 * Per layer, k (after qk-norm and RoPE) and v, [capacity, G*K] each, fp32. */
#ifndef DM_GEMMA_KV_CACHE_H
#define DM_GEMMA_KV_CACHE_H

#include "core/base/status.h"
#include "core/gemma/config.h"

struct kv_cache {
    size_t length;   /* positions filled, in every layer */
    size_t capacity; /* positions there is room for */
    size_t width;    /* G*K */
    float *pages;    /* [L, 2, capacity, G*K]; memory is taken as it is touched */
    size_t bytes;
};

int kv_cache_create(struct kv_cache *cache, const struct gemma_config *config, size_t capacity,
                    struct status *st);
float *kv_cache_keys(const struct kv_cache *cache, size_t layer);
float *kv_cache_values(const struct kv_cache *cache, size_t layer);

/* Forgets everything from position `length` on. */
void kv_cache_cut(struct kv_cache *cache, size_t length);
void kv_cache_free(struct kv_cache *cache); /* safe on a zeroed struct */

#endif
