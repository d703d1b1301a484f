#include "core/sae/pool.h"

#include "core/base/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

struct entry {
    struct sae *sae; /* NULL while closed */
    uint64_t bytes;
    uint64_t used; /* the pool's clock at its last release */
    int pins;
    bool has_identity;
    struct hash identity;
};

struct pool {
    pthread_mutex_t lock;
    const struct catalogue *catalogue;
    uint64_t budget, bytes, clock;
    struct entry entries[]; /* one for each source of the catalogue */
};

int pool_create(struct pool **out, const struct catalogue *catalogue, uint64_t budget,
                struct status *st)
{
    size_t bytes = sizeof(struct pool) + catalogue->n_sources * sizeof(struct entry);
    struct pool *pool = memory_zalloc(1, bytes);
    *out = pool;
    if (!pool) {
        return status_no_memory(st, bytes);
    }
    pthread_mutex_init(&pool->lock, NULL);
    pool->catalogue = catalogue;
    pool->budget = budget;
    return STATUS_OK;
}

static void close_entry(struct pool *pool, struct entry *e)
{
    sae_close(e->sae);
    e->sae = NULL;
    pool->bytes -= e->bytes;
}

/* Closes what was not used for longest until the budget is kept or all that is left is in use. */
static void evict(struct pool *pool)
{
    while (pool->bytes > pool->budget) {
        struct entry *oldest = NULL;
        for (size_t i = 0; i < pool->catalogue->n_sources; i++) {
            struct entry *e = &pool->entries[i];
            if (e->sae && e->pins == 0 && (!oldest || e->used < oldest->used)) {
                oldest = e;
            }
        }
        if (!oldest) {
            return;
        }
        close_entry(pool, oldest);
    }
}

static int open_entry(struct pool *pool, struct entry *e, const struct sae_source *source,
                      struct status *st)
{
    int code = sae_open(&e->sae, source, st);
    if (code) {
        e->sae = NULL;
        return code;
    }
    struct hash identity = sae_identity(e->sae);
    if (e->has_identity && memcmp(&identity, &e->identity, sizeof identity) != 0) {
        sae_close(e->sae);
        e->sae = NULL;
        return status_set(st, STATUS_CORRUPT,
                          "source %s: its file in %s is another than when it was used first; put "
                          "that one back, or start darkmatter again to use the new one",
                          source->name, source->path);
    }
    e->identity = identity;
    e->has_identity = true;
    e->bytes = sae_memory_bytes(e->sae);
    pool->bytes += e->bytes;
    return STATUS_OK;
}

static int acquire(struct pool *pool, const char *name, struct entry **out, struct status *st)
{
    const struct sae_source *source = catalogue_find(pool->catalogue, name);
    if (!source) {
        return status_set(
            st, STATUS_NOT_FOUND,
            "source \"%.120s\" is not here; GET /v1/capabilities lists those that are", name);
    }
    if (source->is_neurons) {
        return status_set(
            st, STATUS_INVALID,
            "source \"%.120s\" is the model's own %s.%d, not an SAE: it has no encoder "
            "and no reconstruction",
            name, point_name(source->input), source->layer);
    }
    struct entry *e = &pool->entries[source - pool->catalogue->sources];
    if (e->sae && e->pins == 0 && sae_check(e->sae, st)) {
        status_clear(st);
        close_entry(pool, e);
    }
    int code = e->sae ? sae_check(e->sae, st) : open_entry(pool, e, source, st);
    if (code == STATUS_OK) {
        e->pins++;
        e->used = ++pool->clock;
        evict(pool);
        *out = e;
    }
    return code;
}

const struct catalogue *pool_catalogue(const struct pool *pool)
{
    return pool->catalogue;
}

int pool_acquire(struct pool *pool, const char *name, struct sae **sae, struct status *st)
{
    struct entry *e;
    pthread_mutex_lock(&pool->lock);
    int code = acquire(pool, name, &e, st);
    *sae = code ? NULL : e->sae;
    pthread_mutex_unlock(&pool->lock);
    return code;
}

static void release(struct pool *pool, struct entry *e)
{
    e->pins--;
    e->used = ++pool->clock;
    if (e->bytes > pool->budget) {
        sae_release_pages(e->sae);
    }
    evict(pool);
}

int pool_release(struct pool *pool, struct sae *sae, int code, struct status *st)
{
    pthread_mutex_lock(&pool->lock);
    if (code == STATUS_OK) {
        code = sae_check(sae, st);
    }
    release(pool, &pool->entries[sae_source(sae) - pool->catalogue->sources]);
    pthread_mutex_unlock(&pool->lock);
    return code;
}

int pool_identity(struct pool *pool, const char *name, struct hash *identity, struct status *st)
{
    pthread_mutex_lock(&pool->lock);
    const struct sae_source *source = catalogue_find(pool->catalogue, name);
    bool is_sae = source && !source->is_neurons; /* acquire says what is wrong */
    struct entry *e = is_sae ? &pool->entries[source - pool->catalogue->sources] : NULL;
    int code = STATUS_OK;
    if (!e || !e->has_identity) {
        code = acquire(pool, name, &e, st);
        if (code == STATUS_OK) {
            release(pool, e);
        }
    }
    if (code == STATUS_OK) {
        *identity = e->identity;
    }
    pthread_mutex_unlock(&pool->lock);
    return code;
}

uint64_t pool_bytes(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    uint64_t bytes = pool->bytes;
    pthread_mutex_unlock(&pool->lock);
    return bytes;
}

void pool_destroy(struct pool *pool)
{
    if (!pool) {
        return;
    }
    for (size_t i = 0; i < pool->catalogue->n_sources; i++) {
        sae_close(pool->entries[i].sae);
    }
    pthread_mutex_destroy(&pool->lock);
    memory_free(pool);
}
