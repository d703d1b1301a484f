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

/* The SAE of that name, which stays open until pool_release. STATUS_NOT_FOUND for an unknown name.
 */
int pool_acquire(struct pool *pool, const char *name, struct sae **sae, struct status *st);
void pool_release(struct pool *pool, struct sae *sae);

/* sae_identity of that SAE; remembered, so that it is opened for it only once. */
int pool_identity(struct pool *pool, const char *name, struct hash *identity, struct status *st);

uint64_t pool_bytes(struct pool *pool); /* of the SAEs open now */
void pool_destroy(struct pool *pool);   /* NULL is fine; nothing may be acquired */

#endif
