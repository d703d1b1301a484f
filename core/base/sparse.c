#include "core/base/sparse.h"

#include "core/base/memory.h"

#include <string.h>

/* A block of at least `need` entries of `size` bytes in place of `old`; NULL leaves `old` alone. */
static void *grown(void *old, size_t *capacity, size_t need, size_t size)
{
    size_t wanted = *capacity ? *capacity : 16;
    while (wanted < need) {
        wanted *= 2;
    }
    void *bigger = memory_resize(old, wanted, size);
    if (bigger) {
        *capacity = wanted;
    }
    return bigger;
}

static bool reserve_row(struct sparse *s)
{
    if (s->rows + 2 <= s->capacity_rows) {
        return true;
    }
    size_t *start = grown(s->start, &s->capacity_rows, s->rows + 2, sizeof *start);
    s->start = start ? start : s->start;
    return start != NULL;
}

/* index and value share one capacity, raised only when both have grown. */
static bool reserve_entries(struct sparse *s, size_t need)
{
    if (need <= s->capacity_entries && s->index) {
        return true;
    }
    size_t capacity = s->capacity_entries;
    uint32_t *index = grown(s->index, &capacity, need, sizeof *index);
    s->index = index ? index : s->index;
    float *value = index ? grown(s->value, &s->capacity_entries, need, sizeof *value) : NULL;
    s->value = value ? value : s->value;
    return value != NULL;
}

void sparse_append(struct sparse *s, const uint32_t *index, const float *value, size_t n)
{
    size_t used = s->rows ? s->start[s->rows] : 0;
    if (s->failed || !reserve_row(s) || !reserve_entries(s, used + n)) {
        s->failed = true;
        return;
    }
    if (n) {
        memcpy(s->index + used, index, n * sizeof *index);
        memcpy(s->value + used, value, n * sizeof *value);
    }
    s->start[s->rows] = used;
    s->rows++;
    s->start[s->rows] = used + n;
}

float sparse_get(const struct sparse *s, size_t row, uint32_t column)
{
    size_t low = s->start[row];
    size_t high = s->start[row + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->index[middle] < column) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < s->start[row + 1] && s->index[low] == column ? s->value[low] : 0.0f;
}

void sparse_clear(struct sparse *s)
{
    s->rows = 0;
    s->failed = false;
}

void sparse_free(struct sparse *s)
{
    memory_free(s->start);
    memory_free(s->index);
    memory_free(s->value);
    *s = (struct sparse){0};
}
