#include "server/v1/active.h"

#include "core/base/memory.h"

#include <stdio.h>
#include <stdlib.h>

struct entry {
    uint32_t index;
    float value;
    size_t position;
};

static int by_feature(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->index != right->index) {
        return left->index < right->index ? -1 : 1;
    }
    return left->position < right->position ? -1 : 1;
}

/* The entries of rows first.. by feature; NULL without memory. */
static struct entry *by_features(const struct sparse *rows, size_t first, size_t *n)
{
    size_t begin = rows->start[first];
    *n = rows->start[rows->rows] - begin;
    struct entry *entries = memory_alloc(*n, sizeof *entries);
    if (!entries) {
        return NULL;
    }
    for (size_t t = first; t < rows->rows; t++) {
        for (size_t e = rows->start[t]; e < rows->start[t + 1]; e++) {
            entries[e - begin] = (struct entry){rows->index[e], rows->value[e], t};
        }
    }
    qsort(entries, *n, sizeof *entries, by_feature);
    return entries;
}

static void write_entries(struct emitter *w, const struct entry *entries, size_t n)
{
    emit_object(w);
    for (size_t i = 0; i < n;) {
        char key[16];
        uint32_t index = entries[i].index;
        (void)snprintf(key, sizeof key, "%u", (unsigned)index);
        emit_key(w, key);
        emit_array(w);
        for (; i < n && entries[i].index == index; i++) {
            emit_array(w);
            emit_int(w, (long long)entries[i].position);
            emit_rounded(w, (double)entries[i].value, 3);
            emit_end_array(w);
        }
        emit_end_array(w);
    }
    emit_end_object(w);
}

void active_write(struct emitter *w, const struct sparse *rows, size_t first)
{
    size_t n;
    struct entry *entries = by_features(rows, first, &n);
    if (entries) {
        write_entries(w, entries, n);
    } else {
        w->out->failed = true;
    }
    memory_free(entries);
}
