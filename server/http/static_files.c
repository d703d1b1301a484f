#include "server/http/static_files.h"

#include "core/base/hash.h"
#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define TOTAL_MAX (64u << 20) /* bytes of all files together */
#define DEPTH_MAX 16          /* folders in folders */

struct file {
    char *path; /* as in a request, "/view/lab.js" */
    char *bytes;
    size_t length;
    const char *content_type;
    char etag[HASH_HEX + 2]; /* with its quotes */
};

struct static_files {
    struct file *files; /* sorted by path */
    size_t n, capacity, total;
};

static const char *content_type(const char *path)
{
    static const struct {
        const char *ending, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".json", HTTP_JSON},
        {".txt", "text/plain; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".webp", "image/webp"},
        {".woff2", "font/woff2"},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t n = strlen(path);
        size_t m = strlen(types[i].ending);
        if (n > m && strcasecmp(path + n - m, types[i].ending) == 0) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}

static void etag_of(struct file *file)
{
    char hex[HASH_HEX];
    struct hash h = hash_start();
    hash_add(&h, file->bytes, file->length);
    hash_hex(h, hex);
    (void)snprintf(file->etag, sizeof file->etag, "\"%s\"", hex);
}

static struct file *new_file(struct static_files *all)
{
    if (all->n == all->capacity) {
        size_t capacity = all->capacity ? all->capacity * 2 : 32;
        struct file *files = memory_resize(all->files, capacity, sizeof *files);
        if (!files) {
            return NULL;
        }
        all->files = files;
        all->capacity = capacity;
    }
    struct file *file = &all->files[all->n];
    *file = (struct file){0};
    return file;
}

/* Copied rather than mapped: an editor that truncates a mapped file would kill the server. */
static int add_file(struct static_files *all, const char *disk, const char *path, struct status *st)
{
    struct mapped_file map;
    int code = mapped_file_open(&map, disk, st);
    if (code) {
        return code;
    }
    if (map.size > TOTAL_MAX - all->total) {
        code = status_set(st, STATUS_TOO_LARGE,
                          "%s: expected a site of at most %u bytes in all, found more; is this the "
                          "right folder?",
                          disk, TOTAL_MAX);
        goto done;
    }
    struct file *file = new_file(all);
    if (!file || !(file->path = memory_string(path)) ||
        !(file->bytes = memory_string_n(map.data ? (const char *)map.data : "", map.size))) {
        memory_free(file ? file->path : NULL);
        code = status_no_memory(st, map.size);
        goto done;
    }
    file->length = map.size;
    file->content_type = content_type(path);
    etag_of(file);
    all->n++;
    all->total += map.size;
done:
    mapped_file_close(&map);
    return code;
}

static int add_folder(struct static_files *all, const char *disk, const char *path, int depth,
                      struct status *st);

/* A regular file or a folder; dotfiles, links, sockets and the like are left out. */
static int add_entry(struct static_files *all, const char *disk_folder, const char *folder,
                     const char *name, int depth, struct status *st)
{
    struct stat info;
    struct text disk = {0}, path = {0};
    int code = STATUS_OK;
    text_printf(&disk, "%s/%s", disk_folder, name);
    text_printf(&path, "%s/%s", folder, name);
    if (disk.failed || path.failed) {
        code = status_no_memory(st, strlen(disk_folder) + strlen(name));
    } else if (lstat(disk.data, &info)) {
        code = status_set(st, STATUS_IO, "%s: %s", disk.data, strerror(errno));
    } else if (S_ISDIR(info.st_mode)) {
        code = add_folder(all, disk.data, path.data, depth + 1, st);
    } else if (S_ISREG(info.st_mode)) {
        code = add_file(all, disk.data, path.data, st);
    }
    text_free(&disk);
    text_free(&path);
    return code;
}

/* Recursive over the user's own folder, at most DEPTH_MAX levels. */
static int add_folder(struct static_files *all, const char *disk, const char *path, int depth,
                      struct status *st)
{
    if (depth > DEPTH_MAX) {
        return status_set(st, STATUS_TOO_LARGE, "%s: expected at most %d folders in each other",
                          disk, DEPTH_MAX);
    }
    DIR *folder = opendir(disk);
    if (!folder) {
        return status_set(st, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                          "%s: the folder of the site cannot be read: %s", disk, strerror(errno));
    }
    int code = STATUS_OK;
    for (struct dirent *entry; code == STATUS_OK && (entry = readdir(folder));) {
        if (entry->d_name[0] != '.') {
            code = add_entry(all, disk, path, entry->d_name, depth, st);
        }
    }
    (void)closedir(folder);
    return code;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

int static_files_load(struct static_files **files, const char *folder, struct status *st)
{
    *files = NULL;
    struct static_files *all = memory_zalloc(1, sizeof *all);
    if (!all) {
        return status_no_memory(st, sizeof *all);
    }
    int code = add_folder(all, folder, "", 0, st);
    if (code) {
        static_files_free(all);
        return code;
    }
    if (all->n) {
        qsort(all->files, all->n, sizeof *all->files, by_path);
    }
    *files = all;
    return STATUS_OK;
}

static const struct file *find(const struct static_files *files, const char *path)
{
    if (!files) {
        return NULL;
    }
    if (strcmp(path, "/") == 0) {
        path = "/index.html";
    }
    for (size_t low = 0, high = files->n; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(path, files->files[middle].path);
        if (order == 0) {
            return &files->files[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

bool static_files_has(const struct static_files *files, const char *path)
{
    return find(files, path) != NULL;
}

/* If-None-Match: "*" or a list of tags, each perhaps weak (RFC 9110, 13.1.2). */
static bool names_tag(const char *list, const char *etag)
{
    return strcmp(list, "*") == 0 || strstr(list, etag) != NULL;
}

bool static_files_serve(const struct static_files *files, const char *path, struct exchange *x)
{
    const struct file *file = find(files, path);
    if (!file) {
        return false;
    }
    exchange_header(x, "ETag", "%s", file->etag);
    exchange_header(x, "Cache-Control", "no-cache");
    x->response.content_type = file->content_type;
    const char *known = x->request.header(&x->request, "If-None-Match");
    if (known && names_tag(known, file->etag)) {
        x->response.status = 304;
        return true;
    }
    x->response.static_body = file->bytes;
    x->response.static_length = file->length;
    return true;
}

void static_files_free(struct static_files *files)
{
    if (!files) {
        return;
    }
    for (size_t i = 0; i < files->n; i++) {
        memory_free(files->files[i].path);
        memory_free(files->files[i].bytes);
    }
    memory_free(files->files);
    memory_free(files);
}
