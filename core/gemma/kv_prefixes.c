#include "core/gemma/kv_prefixes.h"

#include "core/base/memory.h"

#include <pthread.h>
#include <string.h>

struct entry {
    struct entry *next;    /* used longer ago */
    struct kv_mark *marks; /* [cache.length] */
    struct kv_cache cache;
    uint64_t bytes; /* pages that were touched */
};

struct kv_prefixes {
    pthread_mutex_t lock;
    struct entry *first; /* used last */
    struct kv_prefixes_figures figures;
    uint64_t budget;
};

int kv_prefixes_create(struct kv_prefixes **out, uint64_t budget_bytes, struct status *st)
{
    struct kv_prefixes *p = memory_zalloc(1, sizeof *p);
    *out = p;
    if (!p) {
        return status_no_memory(st, sizeof *p);
    }
    p->budget = budget_bytes;
    pthread_mutex_init(&p->lock, NULL);
    return STATUS_OK;
}

static void free_entries(struct entry *first)
{
    for (struct entry *e = first, *next; e; e = next) {
        next = e->next;
        kv_cache_free(&e->cache);
        memory_free(e->marks);
        memory_free(e);
    }
}

void kv_prefixes_destroy(struct kv_prefixes *p)
{
    if (p) {
        free_entries(p->first);
        pthread_mutex_destroy(&p->lock);
        memory_free(p);
    }
}

/* How far both go together. */
static size_t common(const struct entry *e, const struct kv_mark *marks, size_t n)
{
    size_t most = e->cache.length < n ? e->cache.length : n, i = 0;
    while (i < most && e->marks[i].id == marks[i].id && e->marks[i].done == marks[i].done) {
        i++;
    }
    return i;
}

/* Under the lock: out of the list, which then says nothing of it. */
static struct entry *take(struct kv_prefixes *p, struct entry **at)
{
    struct entry *e = *at;
    *at = e->next;
    e->next = NULL;
    p->figures.bytes -= e->bytes;
    p->figures.texts--;
    return e;
}

/* Under the lock: to the front. Returns those that have no room any more. */
static struct entry *put(struct kv_prefixes *p, struct entry *e)
{
    e->next = p->first;
    p->first = e;
    p->figures.bytes += e->bytes;
    p->figures.texts++;
    struct entry **at = &p->first;
    for (uint64_t sum = 0; *at && (*at)->bytes <= p->budget - sum; at = &(*at)->next) {
        sum += (*at)->bytes;
    }
    struct entry *gone = NULL;
    while (*at) {
        struct entry *last = take(p, at);
        last->next = gone;
        gone = last;
    }
    return gone;
}

static void copy(const struct kv_cache *from, size_t n, struct kv_cache *to)
{
    size_t layers = from->bytes / (2 * from->capacity * from->width * sizeof(float));
    size_t bytes = n * from->width * sizeof(float);
    for (size_t layer = 0; layer < layers; layer++) {
        memcpy(kv_cache_keys(to, layer), kv_cache_keys(from, layer), bytes);
        memcpy(kv_cache_values(to, layer), kv_cache_values(from, layer), bytes);
    }
    to->length = n;
}

void kv_prefixes_find(struct kv_prefixes *p, const struct kv_mark *marks, size_t n,
                      struct kv_cache *cache)
{
    if (!p) {
        return;
    }
    n = n < cache->capacity ? n : cache->capacity;
    size_t length = KV_PREFIXES_LEAST - 1;
    struct entry **best = NULL;
    pthread_mutex_lock(&p->lock);
    for (struct entry **at = &p->first; *at; at = &(*at)->next) {
        size_t together = common(*at, marks, n);
        if (together > length) {
            length = together;
            best = at;
        }
    }
    struct entry *e = best ? take(p, best) : NULL; /* copying takes milliseconds: not under lock */
    p->figures.reused += e ? length : 0;
    pthread_mutex_unlock(&p->lock);
    if (!e) {
        return;
    }
    copy(&e->cache, length, cache);
    pthread_mutex_lock(&p->lock);
    struct entry *gone = put(p, e);
    pthread_mutex_unlock(&p->lock);
    free_entries(gone);
}

static struct entry *make_entry(const struct kv_mark *marks, struct kv_cache *cache)
{
    struct entry *e = memory_zalloc(1, sizeof *e);
    struct kv_mark *own = e ? memory_alloc(cache->length, sizeof *own) : NULL;
    if (!own) {
        memory_free(e);
        return NULL;
    }
    memcpy(own, marks, cache->length * sizeof *own);
    *e = (struct entry){.marks = own, .cache = *cache};
    e->bytes = (cache->bytes / cache->capacity + sizeof *own) * cache->length;
    *cache = (struct kv_cache){0};
    return e;
}

/* Under the lock: those that begin the new one, and so are of no more use. */
static struct entry *take_beginnings(struct kv_prefixes *p, const struct entry *of)
{
    struct entry *gone = NULL;
    for (struct entry **at = &p->first; *at;) {
        if (common(*at, of->marks, of->cache.length) == (*at)->cache.length) {
            struct entry *e = take(p, at);
            e->next = gone;
            gone = e;
        } else {
            at = &(*at)->next;
        }
    }
    return gone;
}

void kv_prefixes_keep(struct kv_prefixes *p, const struct kv_mark *marks, struct kv_cache *cache)
{
    struct entry *e = p && cache->length >= KV_PREFIXES_LEAST ? make_entry(marks, cache) : NULL;
    if (!e || e->bytes > p->budget) {
        kv_cache_free(cache);
        free_entries(e);
        return;
    }
    pthread_mutex_lock(&p->lock);
    struct entry *shorter = take_beginnings(p, e);
    struct entry *gone = put(p, e);
    pthread_mutex_unlock(&p->lock);
    free_entries(shorter);
    free_entries(gone);
}

struct kv_prefixes_figures kv_prefixes_figures(struct kv_prefixes *p)
{
    struct kv_prefixes_figures figures = {0};
    if (p) {
        pthread_mutex_lock(&p->lock);
        figures = p->figures;
        pthread_mutex_unlock(&p->lock);
    }
    return figures;
}
