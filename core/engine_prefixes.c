/* Texts that begin as one that was continued lately do not read that beginning again. */
#include "core/base/memory.h"
#include "core/engine_private.h"

/* NULL where there is no memory for them, or nobody wants them. */
static struct kv_mark *marks_of(const struct engine *e, const struct generation_start *start,
                                const int32_t *ids, size_t n)
{
    struct status st;
    struct kv_mark *marks = e->prefixes ? memory_alloc(n, sizeof *marks) : NULL;
    if (marks && edits_mark(start->edits, start->n_edits, start->n_ids, ids, n, marks, &st)) {
        memory_free(marks);
        return NULL;
    }
    return marks;
}

void engine_find_prefix(struct engine *e, const struct generation_start *start,
                        struct kv_cache *cache)
{
    size_t n = start->n_ids - 1; /* the last one is read for its logits */
    struct kv_mark *marks = marks_of(e, start, start->ids, n);
    if (marks) {
        kv_prefixes_find(e->prefixes, marks, n, cache);
    }
    memory_free(marks);
}

void engine_keep_prefix(struct engine *e, const struct generation_start *start, const int32_t *ids,
                        struct kv_cache *cache)
{
    struct kv_mark *marks = marks_of(e, start, ids, cache->length);
    if (marks) {
        kv_prefixes_keep(e->prefixes, marks, cache);
    }
    kv_cache_free(cache);
    memory_free(marks);
}

struct kv_prefixes_figures engine_prefixes(const struct engine *e)
{
    return kv_prefixes_figures(e->prefixes);
}
