/* Keys and values of texts that were read lately, for texts that begin alike.
 *
 * What a layer computes at a position depends on the ids up to it and on what was done to those
 * rows, and has the same bits whatever else is computed with it (core/math/kernels_level.h). So the
 * second turn of a conversation need not read the first one again. Texts are compared position by
 * position. The least recently used go when together they exceed the budget. Safe from any thread.
 */
#ifndef DM_GEMMA_KV_PREFIXES_H
#define DM_GEMMA_KV_PREFIXES_H

#include "core/gemma/kv_cache.h"

#include <stddef.h>
#include <stdint.h>

struct kv_prefixes;

/* A position of a text. */
struct kv_mark {
    uint64_t done; /* what is done to its rows: 0 nothing, else a hash of the edits there */
    int32_t id;
};

/* Fewer positions are not looked for: every conversation begins with the same few. */
#define KV_PREFIXES_LEAST 8

int kv_prefixes_create(struct kv_prefixes **out, uint64_t budget_bytes, struct status *st);
void kv_prefixes_destroy(struct kv_prefixes *prefixes); /* NULL is fine */

/* Fills the empty cache with the longest beginning of marks [n] that is at hand; cache->length says
 * how long that is (at most n; 0: none). NULL prefixes have nothing. */
void kv_prefixes_find(struct kv_prefixes *prefixes, const struct kv_mark *marks, size_t n,
                      struct kv_cache *cache);

/* Takes the cache of the text marks [cache->length]; it is empty afterwards, whatever happens: one
 * that the budget or the memory has no room for is freed. */
void kv_prefixes_keep(struct kv_prefixes *prefixes, const struct kv_mark *marks,
                      struct kv_cache *cache);

struct kv_prefixes_figures {
    uint64_t reused; /* positions that were not computed again, since the start */
    uint64_t bytes;  /* held now */
    size_t texts;    /* held now */
};
struct kv_prefixes_figures kv_prefixes_figures(struct kv_prefixes *prefixes); /* NULL: zeros */

#endif
