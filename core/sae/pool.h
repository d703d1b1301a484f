/* The SAEs that are open: opened on first use, the least recently used ones closed when together
 * they exceed the memory budget. An SAE larger than the whole budget is streamed: its pages are
 * given back after each use. Safe from any thread. */
#ifndef DM_SAE_POOL_H
#define DM_SAE_POOL_H

#include "core/base/hash.h"
#include "core/base/status.h"
#include "core/sae/catalogue.h"
#include "core/sae/sae.h"

#include <stdint.h>

struct pool;

/* catalogue must outlive the pool. */
int pool_create(struct pool **out, const struct catalogue *catalogue, uint64_t budget,
                struct status *st);

const struct catalogue *pool_catalogue(const struct pool *pool);

/* The SAE of that name, which stays open until pool_release. STATUS_NOT_FOUND for an unknown name;
 * STATUS_CORRUPT for a file that has other contents than when it was opened first. */
int pool_acquire(struct pool *pool, const char *name, struct sae **sae, struct status *st);

/* code is how the use went, and what is returned; but STATUS_CORRUPT if it went well and the file
 * was truncated or written meanwhile (sae_check): then the results must be thrown away. The next
 * pool_acquire opens the file again. */
int pool_release(struct pool *pool, struct sae *sae, int code, struct status *st);

/* sae_identity of that SAE; remembered, so that it is opened for it only once. */
int pool_identity(struct pool *pool, const char *name, struct hash *identity, struct status *st);

uint64_t pool_bytes(struct pool *pool); /* of the SAEs open now */
void pool_destroy(struct pool *pool);   /* NULL is fine; nothing may be acquired */

#endif
