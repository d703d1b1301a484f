#include "core/formats/model_weights.h"

#include "core/base/json.h"
#include "core/base/memory.h"
#include "core/formats/hub_cache.h"

#include <stdlib.h>
#include <string.h>

#define INDEX "model.safetensors.index.json"
#define SINGLE "model.safetensors"
#define INDEX_LIMIT ((size_t)64 << 20)

struct index {
    char *path;
    cJSON *root;
    const cJSON *map;   /* "weight_map" */
    const char **names; /* [n] borrowed from root */
    size_t n;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The file names of the weight_map, sorted, each once. */
static int shard_names(struct index *index, struct status *st)
{
    size_t count = (size_t)cJSON_GetArraySize(index->map);
    const char **names = index->names = memory_alloc(count, sizeof *names);
    if (!names) {
        return status_no_memory(st, count * sizeof *names);
    }
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, index->map)
    {
        const char *name = cJSON_IsString(item) ? item->valuestring : "";
        if (name[0] == '\0' || strchr(name, '/') || strstr(name, "..")) {
            return status_set(
                st, STATUS_CORRUPT,
                "%s: tensor \"%.200s\": expected the name of a file in the same folder, "
                "found \"%.200s\"",
                index->path, item->string, name);
        }
        names[n++] = name;
    }
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(names[index->n - 1], names[i]) != 0) {
            names[index->n++] = names[i];
        }
    }
    return STATUS_OK;
}

static int open_shards(const char *folder, const char *const *names, size_t n,
                       struct safetensors ***shards, struct status *st)
{
    int code = STATUS_OK;
    *shards = memory_zalloc(n, sizeof(void *));
    if (!*shards) {
        return status_no_memory(st, n * sizeof(void *));
    }
    for (size_t i = 0; i < n && code == STATUS_OK; i++) {
        char *path = hub_cache_join(folder, names[i]);
        code = path ? safetensors_open(&(*shards)[i], path, st)
                    : status_no_memory(st, strlen(folder) + strlen(names[i]) + 2);
        memory_free(path);
    }
    return code;
}

/* Every tensor is in the shard that the index says. */
static int check_index(const struct index *index, struct safetensors *const *shards,
                       struct status *st)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, index->map)
    {
        const char **place = bsearch(&item->valuestring, index->names, index->n,
                                     sizeof *index->names, compare_names);
        if (!place || !safetensors_find(shards[place - index->names], item->string)) {
            return status_set(
                st, STATUS_CORRUPT,
                "%s: tensor \"%.200s\": expected it in %.200s, found no such tensor there",
                index->path, item->string, item->valuestring);
        }
    }
    return STATUS_OK;
}

/* STATUS_NOT_FOUND names the first shard that is not there. */
static int check_shards(const char *folder, const struct index *index, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < index->n && code == STATUS_OK; i++) {
        char *path = hub_cache_join(folder, index->names[i]);
        if (!path) {
            return status_no_memory(st, strlen(folder) + strlen(index->names[i]) + 2);
        }
        enum hub_presence presence = hub_cache_presence(path);
        memory_free(path);
        if (presence != HUB_THERE) {
            code = hub_cache_missing(
                folder, index->names[i],
                presence == HUB_BROKEN ? "a symbolic link that leads nowhere" : "no such file", st);
        }
    }
    return code;
}

static int read_index(struct index *index, struct status *st)
{
    int code = json_parse_file(&index->root, index->path, INDEX_LIMIT, st);
    if (code == STATUS_INVALID) { /* a file on disk, not a caller's value */
        st->code = STATUS_CORRUPT;
    }
    if (code) {
        return (int)st->code;
    }
    index->map = json_get(index->root, "weight_map");
    if (!cJSON_IsObject(index->map) || !index->map->child) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: expected an object as \"weight_map\", found something else",
                          index->path);
    }
    return shard_names(index, st);
}

int model_weights_open(const char *folder, struct safetensors ***shards, size_t *n,
                       struct status *st)
{
    static const char *const alone[] = {SINGLE};
    struct index index = {.path = hub_cache_join(folder, INDEX)};
    char *single = hub_cache_join(folder, SINGLE);
    int code = STATUS_OK;
    *shards = NULL;
    *n = 0;
    if (!index.path || !single) {
        code = status_no_memory(st, strlen(folder) + sizeof INDEX);
        goto done;
    }
    bool has_index = hub_cache_presence(index.path) != HUB_ABSENT;
    bool has_single = hub_cache_presence(single) != HUB_ABSENT;
    if (has_index) {
        code = read_index(&index, st);
        code = code ? code : check_shards(folder, &index, st);
        has_index = !(code == STATUS_NOT_FOUND && has_single);
    }
    if (has_index && code == STATUS_OK) {
        *n = index.n;
        code = open_shards(folder, index.names, index.n, shards, st);
        if (code == STATUS_OK && *shards) {
            code = check_index(&index, *shards, st);
        }
    } else if (!has_index && has_single) {
        *n = 1;
        code = open_shards(folder, alone, 1, shards, st);
    } else if (!has_index) {
        code = hub_cache_missing(folder, SINGLE " or " INDEX, "neither", st);
    }
done:
    if (code) {
        model_weights_close(*shards, *n);
        *shards = NULL;
        *n = 0;
    }
    cJSON_Delete(index.root);
    memory_free(index.names);
    memory_free(index.path);
    memory_free(single);
    return code;
}

void model_weights_close(struct safetensors **shards, size_t n)
{
    for (size_t i = 0; shards && i < n; i++) {
        safetensors_close(shards[i]);
    }
    memory_free(shards);
}
