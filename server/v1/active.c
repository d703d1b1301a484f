#include "server/v1/active.h"

#include "core/base/memory.h"
#include "server/http/decimal.h"

struct entry {
    uint32_t index;
    float value;
    size_t position;
};

/* The largest index of the entries from `begin` on; 0 for none. */
static size_t largest(const struct sparse *rows, size_t begin, size_t n)
{
    size_t most = 0;
    for (size_t e = begin; e < begin + n; e++) {
        most = rows->index[e] > most ? rows->index[e] : most;
    }
    return most;
}

/* The entries of rows first.. by feature, and of one feature by position: counted, then put where
 * their feature begins, in the order of rows. NULL without memory. */
static struct entry *by_features(const struct sparse *rows, size_t first, size_t *n)
{
    size_t begin = rows->start[first];
    *n = rows->start[rows->rows] - begin;
    size_t width = largest(rows, begin, *n) + 1;
    struct entry *entries = memory_alloc(*n, sizeof *entries);
    size_t *next =
        memory_zalloc(width + 1, sizeof *next); /* next[i + 1]: how many i has, at first */
    if (!entries || !next) {
        memory_free(entries);
        memory_free(next);
        return NULL;
    }
    for (size_t e = begin; e < begin + *n; e++) {
        next[rows->index[e] + 1]++;
    }
    for (size_t i = 1; i <= width; i++) {
        next[i] += next[i - 1];
    }
    for (size_t t = first; t < rows->rows; t++) {
        for (size_t e = rows->start[t]; e < rows->start[t + 1]; e++) {
            entries[next[rows->index[e]]++] = (struct entry){rows->index[e], rows->value[e], t};
        }
    }
    memory_free(next);
    return entries;
}

static void write_entries(struct emitter *w, const struct entry *entries, size_t n)
{
    emit_object(w);
    for (size_t i = 0; i < n;) {
        char key[DECIMAL_MAX + 1];
        uint32_t index = entries[i].index;
        key[decimal_integer(index, key)] = '\0';
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
