/* What is done where, as numbers that are equal when it is the same. */
#include "core/base/memory.h"
#include "core/lens/edit_private.h"

#include <string.h>

bool edit_selects(const struct edit *e, size_t prompt_length, size_t position)
{
    if (e->skip_bos && position == 0) {
        return false;
    }
    switch (e->where) {
    case EDIT_ALL:
        return true;
    case EDIT_PROMPT:
        return position < prompt_length;
    case EDIT_GENERATED:
        return position >= prompt_length;
    case EDIT_LAST:
        return position + 1 == prompt_length;
    case EDIT_POSITIONS:
        break;
    }
    for (size_t i = 0; i < e->n_positions; i++) {
        if ((size_t)e->positions[i] == position) {
            return true;
        }
    }
    return false;
}

/* All of an edit but where it acts. */
static struct hash action(const struct edit *e)
{
    struct hash h = hash_start();
    const int64_t whole[] = {(int64_t)e->type,
                             e->source ? -1 : (int64_t)e->point,
                             e->source ? -1 : e->layer,
                             (int64_t)e->n,
                             (int64_t)e->n_vector,
                             e->unit,
                             e->keep_error,
                             (int64_t)e->dim};
    const float real[] = {e->strength, e->value};
    hash_add(&h, whole, sizeof whole);
    hash_add(&h, real, sizeof real);
    if (e->source) {
        hash_add(&h, e->source, strlen(e->source) + 1);
    }
    if (e->indices) {
        hash_add(&h, e->indices, e->n * sizeof *e->indices);
    }
    if (e->values) {
        hash_add(&h, e->values, e->n * sizeof *e->values);
    }
    if (e->vector) {
        hash_add(&h, e->vector, e->n_vector * sizeof *e->vector);
    }
    return h;
}

int edits_mark(const struct edit *list, size_t n, size_t prompt_length, const int32_t *ids,
               size_t n_ids, struct kv_mark *marks, struct status *st)
{
    struct hash *actions = memory_alloc(n, sizeof *actions);
    if (!actions) {
        return status_no_memory(st, n * sizeof *actions);
    }
    for (size_t i = 0; i < n; i++) {
        actions[i] = action(&list[i]);
    }
    for (size_t t = 0; t < n_ids; t++) {
        struct hash h = hash_start();
        bool any = false;
        for (size_t i = 0; i < n; i++) {
            if (edit_selects(&list[i], prompt_length, t)) {
                hash_add(&h, &actions[i], sizeof actions[i]);
                any = true;
            }
        }
        marks[t] = (struct kv_mark){.id = ids[t], .done = any ? h.low | 1 : 0};
    }
    memory_free(actions);
    return STATUS_OK;
}
