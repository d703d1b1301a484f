#include "core/gemma/kv_cache.h"

#include "core/base/memory.h"

int kv_cache_create(struct kv_cache *cache, const struct gemma_config *config, size_t capacity,
                    struct status *st)
{
    *cache =
        (struct kv_cache){.capacity = capacity, .width = config->n_kv_heads * config->head_dim};
    size_t floats;
    if (!memory_multiply(cache->width, capacity, &floats) ||
        !memory_multiply(floats, 2 * config->n_layers, &floats) ||
        !memory_multiply(floats, sizeof(float), &cache->bytes) ||
        !(cache->pages = memory_pages(cache->bytes))) {
        return status_set(st, STATUS_MEMORY, "no memory for the keys and values of %zu positions",
                          capacity);
    }
    return STATUS_OK;
}

float *kv_cache_keys(const struct kv_cache *cache, size_t layer)
{
    return cache->pages + layer * 2 * cache->capacity * cache->width;
}

float *kv_cache_values(const struct kv_cache *cache, size_t layer)
{
    return kv_cache_keys(cache, layer) + cache->capacity * cache->width;
}

void kv_cache_cut(struct kv_cache *cache, size_t length)
{
    cache->length = length < cache->length ? length : cache->length;
}

void kv_cache_free(struct kv_cache *cache)
{
    memory_free_pages(cache->pages, cache->bytes);
    *cache = (struct kv_cache){0};
}
