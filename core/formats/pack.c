#include "core/formats/pack.h"

#include "core/base/json.h"
#include "core/base/memory.h"
#include "core/formats/pack_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define COPY_LIMIT ((size_t)512 << 20)  /* no tokenizer is larger */
#define CONFIG_LIMIT ((size_t)16 << 20) /* bytes of config.json */
#define SPARE ((uint64_t)16 << 20)      /* headers, folder, rounding up to blocks */

int pack_no_write(const char *path, struct status *st)
{
    return status_set(st, STATUS_IO, "%s: cannot be written: %s", path, strerror(errno));
}

int pack_join(const char *folder, const char *name, struct text *path, struct status *st)
{
    text_clear(path);
    text_printf(path, "%s/%s", folder, name);
    return path->failed ? status_no_memory(st, 256) : STATUS_OK;
}

int pack_close(FILE *f, const char *path, int code, struct status *st)
{
    if (!code && (fflush(f) != 0 || fsync(fileno(f)) != 0)) {
        code = pack_no_write(path, st);
    }
    if (fclose(f) != 0 && !code) {
        code = pack_no_write(path, st);
    }
    return code;
}

const char *pack_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* --- the files beside them -------------------------------------------------------------------- */

static int write_bytes(struct packing *p, const char *name, const void *bytes, size_t n,
                       struct status *st)
{
    struct text path = {0};
    int code = pack_join(p->partial, name, &path, st);
    FILE *f = code ? NULL : fopen(path.data, "wb");
    if (!code && !f) {
        code = pack_no_write(path.data, st);
    }
    if (f) {
        if (fwrite(bytes, 1, n, f) != n) {
            code = pack_no_write(path.data, st);
        }
        code = pack_close(f, path.data, code, st);
    }
    text_free(&path);
    return code;
}

static int write_json(struct packing *p, const char *name, const cJSON *root, struct status *st)
{
    char *bytes = cJSON_Print(root);
    int code =
        bytes ? write_bytes(p, name, bytes, strlen(bytes), st) : status_no_memory(st, 1 << 16);
    cJSON_free(bytes);
    return code;
}

static int write_index(struct packing *p, struct status *st)
{
    if (p->folder.n_shards < 2) {
        return STATUS_OK;
    }
    cJSON *root = cJSON_CreateObject();
    cJSON *metadata = cJSON_AddObjectToObject(root, "metadata");
    cJSON *map = cJSON_AddObjectToObject(root, "weight_map");
    bool made =
        cJSON_AddNumberToObject(metadata, "total_size", (double)p->report->bytes_out) && map;
    for (size_t i = 0; i < p->folder.n_shards && made; i++) {
        const struct safetensors *shard = p->folder.shards[i];
        const char *file = pack_base_name(safetensors_path(shard));
        for (size_t k = 0; k < safetensors_count(shard) && made; k++) {
            made = cJSON_AddStringToObject(map, safetensors_name(shard, k), file) != NULL;
        }
    }
    int code = made ? write_json(p, "model.safetensors.index.json", root, st)
                    : status_no_memory(st, 1 << 16);
    cJSON_Delete(root);
    return code;
}

/* config.json says what type the weights are of, under an old name or a new one. */
static int write_config(struct packing *p, struct status *st)
{
    static const char *const names[] = {"torch_dtype", "dtype"};
    cJSON *root;
    int code = json_parse_file(&root, p->folder.config, CONFIG_LIMIT, st);
    if (code) {
        return code;
    }
    cJSON *const levels[] = {root, cJSON_GetObjectItemCaseSensitive(root, "text_config")};
    for (size_t i = 0; i < 4; i++) {
        cJSON *level = levels[i / 2];
        if (json_get(level, names[i % 2])) {
            cJSON_ReplaceItemInObjectCaseSensitive(level, names[i % 2],
                                                   cJSON_CreateString("bfloat16"));
        }
    }
    code = write_json(p, "config.json", root, st);
    cJSON_Delete(root);
    return code;
}

/* The copy lies in another folder, but it is the same model: it keeps its name. */
static int write_id(struct packing *p, struct status *st)
{
    cJSON *root = cJSON_CreateObject();
    int code = cJSON_AddStringToObject(root, "id", p->folder.id)
                   ? write_json(p, "darkmatter.json", root, st)
                   : status_no_memory(st, 256);
    cJSON_Delete(root);
    return code;
}

static bool is_copied(const char *name)
{
    static const char *const ends[] = {".json", ".model", ".jinja", ".txt", ".md"};
    static const char *const others[] = {"config.json", "darkmatter.json",
                                         "model.safetensors.index.json"};
    bool copied = strncmp(name, "LICENSE", 7) == 0 || strncmp(name, "NOTICE", 6) == 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        copied = copied || text_ends_with(name, ends[i]);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        copied = copied && strcmp(name, others[i]) != 0;
    }
    return copied && name[0] != '.';
}

static int copy_file(struct packing *p, const char *name, struct status *st)
{
    struct mapped_file file = {0};
    struct text path = {0};
    struct stat info;
    int code = pack_join(p->folder.path, name, &path, st);
    if (!code && (stat(path.data, &info) != 0 || !S_ISREG(info.st_mode) ||
                  (uint64_t)info.st_size > COPY_LIMIT)) {
        text_free(&path);
        return STATUS_OK; /* a folder, or nothing that a model needs */
    }
    code = code ? code : mapped_file_open(&file, path.data, st);
    code =
        code ? code : write_bytes(p, name, file.size ? (const void *)file.data : "", file.size, st);
    p->report->n_files += !code;
    mapped_file_close(&file);
    text_free(&path);
    return code;
}

static int copy_files(struct packing *p, struct status *st)
{
    DIR *folder = opendir(p->folder.path);
    if (!folder) {
        return status_set(st, STATUS_IO, "%s: cannot be listed: %s", p->folder.path,
                          strerror(errno));
    }
    int code = STATUS_OK;
    const struct dirent *entry;
    while (!code && (entry = readdir(folder)) != NULL) {
        code = is_copied(entry->d_name) ? copy_file(p, entry->d_name, st) : STATUS_OK;
    }
    (void)closedir(folder);
    return code;
}

/* --- the folder ------------------------------------------------------------------------------- */

static bool is_ours(const char *name)
{
    return text_ends_with(name, ".safetensors") || text_ends_with(name, ".json") || is_copied(name);
}

/* Files that a copy is made of; anything else is somebody's, and then the folder stays. */
static void remove_partial(const struct packing *p)
{
    struct text path = {0};
    struct status st;
    DIR *folder = opendir(p->partial);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL) {
        if (is_ours(entry->d_name) && pack_join(p->partial, entry->d_name, &path, &st) == 0) {
            (void)unlink(path.data);
        }
    }
    if (folder) {
        (void)closedir(folder);
    }
    (void)rmdir(p->partial);
    text_free(&path);
}

/* What will be written, against what is free where it goes. */
static int check_disk(const struct packing *p, struct status *st)
{
    struct statvfs disk;
    uint64_t needed = p->report->bytes_out + SPARE;
    if (statvfs(p->partial, &disk) != 0) {
        return STATUS_OK; /* the disk will say it when it is full */
    }
    uint64_t available = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (available < needed) {
        return status_set(st, STATUS_IO,
                          "%s: the copy needs %.0f MB and its disk has %.0f MB free: make room, or "
                          "name a folder on another disk",
                          p->options->out, (double)needed / 1e6, (double)available / 1e6);
    }
    return STATUS_OK;
}

static int measure(struct packing *p, struct status *st)
{
    bool wide = false;
    for (size_t i = 0; i < p->folder.n_shards; i++) {
        const struct safetensors *shard = p->folder.shards[i];
        for (size_t k = 0; k < safetensors_count(shard); k++) {
            const struct tensor *t = safetensors_at(shard, k);
            struct tensor out = pack_tensor(t);
            wide = wide || pack_is_wide(t);
            p->report->bytes_in += tensor_bytes(t);
            p->report->bytes_out += tensor_bytes(&out);
        }
    }
    return wide ? STATUS_OK
                : status_set(st, STATUS_INVALID,
                             "%s: expected weights in F32 or F16, found none: it is as small as "
                             "BF16 makes it already",
                             p->folder.path);
}

static int make_partial(struct packing *p, struct status *st)
{
    struct stat info;
    if (lstat(p->options->out, &info) == 0) {
        return status_set(st, STATUS_INVALID,
                          "%s: expected a folder that is not there yet, found one: remove it or "
                          "name another",
                          p->options->out);
    }
    remove_partial(p);
    return mkdir(p->partial, 0755) == 0 ? STATUS_OK : pack_no_write(p->partial, st);
}

/* Everything is on the disk: the name makes it a model. */
static int finish(struct packing *p, struct status *st)
{
    struct model_folder check = {0};
    int code = model_folder_open(&check, p->partial, NULL, st);
    model_folder_close(&check);
    if (code) {
        return status_prefix(st, "the copy could not be read back");
    }
    int fd = open(p->partial, O_RDONLY | O_DIRECTORY);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return synced && rename(p->partial, p->options->out) == 0 ? STATUS_OK
                                                              : pack_no_write(p->options->out, st);
}

static int write_all(struct packing *p, struct status *st)
{
    int code = make_partial(p, st);
    if (code) {
        return code;
    }
    code = check_disk(p, st);
    for (size_t i = 0; i < p->folder.n_shards && !code; i++) {
        code = pack_shard(p, p->folder.shards[i], st);
    }
    (void)(code || (code = write_index(p, st)) || (code = copy_files(p, st)) ||
           (code = write_id(p, st)) || (code = write_config(p, st)) || (code = finish(p, st)));
    if (code) {
        remove_partial(p);
    }
    return code;
}

int pack_folder(const struct pack_options *o, struct pack_report *report, struct status *st)
{
    struct packing p = {.options = o, .report = report};
    struct text partial = {0};
    size_t n = strlen(o->out);
    while (n > 1 && o->out[n - 1] == '/') {
        n--;
    }
    *report = (struct pack_report){0};
    text_append(&partial, o->out, n);
    text_string(&partial, ".partial");
    p.partial = text_take(&partial, NULL);
    p.values = memory_alloc(PACK_CHUNK, sizeof *p.values);
    p.halves = memory_alloc(PACK_CHUNK, sizeof *p.halves);
    int code = p.partial && p.values && p.halves ? model_folder_open(&p.folder, o->model, NULL, st)
                                                 : status_no_memory(st, PACK_CHUNK * sizeof(float));
    (void)(code || (code = measure(&p, st)) || (code = write_all(&p, st)));
    model_folder_close(&p.folder);
    memory_free(p.partial);
    memory_free(p.values);
    memory_free(p.halves);
    return code;
}
