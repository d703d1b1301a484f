#include "core/formats/model_folder.h"

#include "core/base/json.h"
#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/formats/hub_cache.h"
#include "core/formats/model_weights.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SETTINGS_LIMIT ((size_t)1 << 20)
#define ID_LIMIT 200 /* bytes; an id stands in paths of the API */

/* *path: the file of that name in the folder, NULL if there is none. */
static int find_file(const struct model_folder *folder, const char *name, char **path,
                     struct status *st)
{
    *path = hub_cache_join(folder->path, name);
    if (!*path) {
        return status_no_memory(st, strlen(folder->path) + strlen(name) + 2);
    }
    enum hub_presence presence = hub_cache_presence(*path);
    if (presence == HUB_THERE) {
        return STATUS_OK;
    }
    memory_free(*path);
    *path = NULL;
    return presence == HUB_ABSENT
               ? STATUS_OK
               : hub_cache_missing(folder->path, name, "a symbolic link that leads nowhere", st);
}

static int find_files(struct model_folder *folder, struct status *st)
{
    const struct {
        const char *name;
        char **path;
    } files[] = {
        {"config.json", &folder->config},
        {"generation_config.json", &folder->generation_config},
        {"tokenizer.json", &folder->tokenizer_json},
        {"tokenizer.model", &folder->tokenizer_model},
        {"tokenizer_config.json", &folder->tokenizer_config},
    };
    int code = STATUS_OK;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && code == STATUS_OK; i++) {
        code = find_file(folder, files[i].name, files[i].path, st);
    }
    return code;
}

/* The folder itself where config.json or a tokenizer lies in it, else the cache's snapshot. */
static int find_folder(struct model_folder *folder, const char *path, struct status *st)
{
    struct stat info;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    folder->path = memory_string_n(path, n);
    if (!folder->path) {
        return status_no_memory(st, n + 1);
    }
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        static const char *const found[] = {"nothing there", "a symbolic link that leads nowhere",
                                            "a file"};
        return status_set(st, STATUS_NOT_FOUND, "%s: expected a model's folder, found %s", path,
                          found[hub_cache_presence(path)]);
    }
    int code = find_files(folder, st);
    if (code || folder->config || folder->tokenizer_json || folder->tokenizer_model) {
        return code;
    }
    char *snapshot;
    code = hub_cache_snapshot(folder->path, &snapshot, st);
    if (code == STATUS_OK && snapshot) {
        memory_free(folder->path);
        folder->path = snapshot;
        code = find_files(folder, st);
    }
    if (code == STATUS_OK && !folder->config && !folder->tokenizer_json &&
        !folder->tokenizer_model) {
        code = hub_cache_missing(folder->path, "config.json", "none", st);
    }
    return code;
}

static int settings_id(struct model_folder *folder, struct status *st)
{
    char *path;
    int code = find_file(folder, "darkmatter.json", &path, st);
    if (code || !path) {
        return code;
    }
    cJSON *root;
    code = json_parse_file(&root, path, SETTINGS_LIMIT, st);
    if (code == STATUS_OK) {
        const cJSON *id = json_get(root, "id");
        if (cJSON_IsString(id)) {
            folder->id = memory_string(id->valuestring);
            code = folder->id ? STATUS_OK : status_no_memory(st, strlen(id->valuestring) + 1);
        } else if (id || !cJSON_IsObject(root)) {
            code = status_set(
                st, STATUS_INVALID,
                "%s: expected an object with a string as \"id\", found something else", path);
        }
        cJSON_Delete(root);
    }
    memory_free(path);
    return code;
}

static int folder_id(struct model_folder *folder, const char *given, struct status *st)
{
    char real[PATH_MAX];
    char *name = memory_string(given);
    if (!name) {
        return status_no_memory(st, strlen(given) + 1);
    }
    for (size_t n = strlen(name); n > 0 && name[n - 1] == '/'; n--) {
        name[n - 1] = '\0';
    }
    const char *slash = strrchr(name, '/');
    const char *last = slash ? slash + 1 : name;
    if ((last[0] == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) &&
        realpath(given, real)) {
        last = strrchr(real, '/') + 1;
    }
    folder->id = memory_string(last);
    memory_free(name);
    return folder->id ? STATUS_OK : status_no_memory(st, strlen(given) + 1);
}

static int check_id(const struct model_folder *folder, struct status *st)
{
    size_t n = strlen(folder->id);
    bool good = n > 0 && n <= ID_LIMIT && text_utf8_valid(folder->id, n) == n;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)folder->id[i];
        good = good && c >= 0x20 && c != 0x7f && c != '/';
    }
    if (!good) {
        return status_set(
            st, STATUS_INVALID,
            "%s: expected a model id of 1 to %d bytes of UTF-8 without slashes and control "
            "characters, found \"%.80s\"; set one with --model-id",
            folder->path, ID_LIMIT, folder->id);
    }
    return STATUS_OK;
}

static int find_id(struct model_folder *folder, const char *given, const char *id,
                   struct status *st)
{
    int code = STATUS_OK;
    if (id) {
        folder->id = memory_string(id);
        code = folder->id ? STATUS_OK : status_no_memory(st, strlen(id) + 1);
    }
    if (code == STATUS_OK && !folder->id) {
        code = settings_id(folder, st);
    }
    if (code == STATUS_OK && !folder->id) {
        code = hub_cache_name(folder->path, &folder->id, st);
    }
    if (code == STATUS_OK && !folder->id) {
        code = folder_id(folder, given, st);
    }
    return code || !folder->id ? code : check_id(folder, st);
}

int model_folder_find(struct model_folder *folder, const char *path, const char *id,
                      struct status *st)
{
    *folder = (struct model_folder){0};
    int code = find_folder(folder, path, st);
    code = code ? code : find_id(folder, path, id, st);
    if (code) {
        model_folder_close(folder);
    }
    return code;
}

int model_folder_open(struct model_folder *folder, const char *path, const char *id,
                      struct status *st)
{
    int code = model_folder_find(folder, path, id, st);
    if (code == STATUS_OK && !folder->config) {
        code = hub_cache_missing(folder->path, "config.json", "none", st);
    }
    if (code == STATUS_OK) {
        code = model_weights_open(folder->path, &folder->shards, &folder->n_shards, st);
    }
    for (size_t i = 0; i < folder->n_shards; i++) {
        for (size_t k = 0; k < safetensors_count(folder->shards[i]); k++) {
            folder->weight_bytes += tensor_bytes(safetensors_at(folder->shards[i], k));
        }
    }
    if (code) {
        model_folder_close(folder);
    }
    return code;
}

const struct tensor *model_folder_tensor(const struct model_folder *folder, const char *name,
                                         const char **file)
{
    for (size_t i = 0; i < folder->n_shards; i++) {
        const struct tensor *t = safetensors_find(folder->shards[i], name);
        if (t) {
            *file = safetensors_path(folder->shards[i]);
            return t;
        }
    }
    *file = folder->path;
    return NULL;
}

enum mapped_state model_folder_state(const struct model_folder *folder, const char **file)
{
    enum mapped_state worst = MAPPED_SAME;
    *file = folder->path;
    for (size_t i = 0; i < folder->n_shards; i++) {
        enum mapped_state state = safetensors_state(folder->shards[i]);
        if (state > worst) {
            worst = state;
            *file = safetensors_path(folder->shards[i]);
        }
    }
    return worst;
}

void model_folder_accept(struct model_folder *folder)
{
    for (size_t i = 0; i < folder->n_shards; i++) {
        safetensors_accept(folder->shards[i]);
    }
}

void model_folder_close(struct model_folder *folder)
{
    model_weights_close(folder->shards, folder->n_shards);
    memory_free(folder->path);
    memory_free(folder->id);
    memory_free(folder->config);
    memory_free(folder->generation_config);
    memory_free(folder->tokenizer_json);
    memory_free(folder->tokenizer_model);
    memory_free(folder->tokenizer_config);
    *folder = (struct model_folder){0};
}
