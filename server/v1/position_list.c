#include "server/v1/position_list.h"

#include "core/base/memory.h"

#include <string.h>

static void read_items(struct fields *f, const cJSON *list, long long n_tokens, int32_t *positions,
                       size_t *n)
{
    for (const cJSON *item = list->child; item; item = item->next) {
        long long position;
        if (!fields_is_whole(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "positions: expected whole numbers, found %s",
                       fields_kind(item));
            return;
        }
        if (!json_integer(item, -n_tokens, n_tokens - 1, &position)) {
            status_set(&f->st, STATUS_INVALID,
                       "positions: expected %lld..%lld for %lld tokens, found %.15g", -n_tokens,
                       n_tokens - 1, n_tokens, item->valuedouble);
            return;
        }
        positions[(*n)++] = (int32_t)(position < 0 ? position + n_tokens : position);
    }
}

int32_t *position_list_read(struct fields *f, size_t n_tokens, size_t *n)
{
    *n = 0;
    const cJSON *value = fields_get(f, "positions");
    const char *word = value ? cJSON_GetStringValue(value) : "all";
    if (f->st.code || (word && strcmp(word, "all") == 0)) {
        return NULL;
    }
    if (!cJSON_IsArray(value)) {
        status_set(&f->st, word ? STATUS_INVALID : STATUS_UNPROCESSABLE,
                   "positions: expected \"all\" or a list of positions, found %s",
                   word ? word : fields_kind(value));
        return NULL;
    }
    size_t count = (size_t)cJSON_GetArraySize(value);
    if (count == 0) {
        status_set(&f->st, STATUS_INVALID, "positions: expected \"all\" or at least one position");
        return NULL;
    }
    int32_t *positions = memory_alloc(count, sizeof *positions);
    if (!positions) {
        status_no_memory(&f->st, count * sizeof *positions);
        return NULL;
    }
    read_items(f, value, (long long)n_tokens, positions, n);
    return positions;
}

size_t position_list_sort(struct fields *f, const char *field, const cJSON *list,
                          const struct prompts *prompts, size_t *to)
{
    size_t n = 0, shortest = SIZE_MAX;
    for (size_t p = 0; p < prompts->n; p++) {
        shortest = prompts->items[p].n_ids < shortest ? prompts->items[p].n_ids : shortest;
    }
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next) {
        long long value;
        if (!fields_is_whole(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "%s[%zu]: expected a whole number, found %s",
                       field, n, fields_kind(item));
            return n;
        }
        if (!json_integer(item, 0, (long long)shortest - 1, &value)) {
            status_set(&f->st, STATUS_INVALID,
                       "%s[%zu]: expected a position of the tokens, 0 to %zu, found %.15g", field,
                       n, shortest - 1, item->valuedouble);
            return n;
        }
        to[n++] = (size_t)value;
    }
    return n;
}
