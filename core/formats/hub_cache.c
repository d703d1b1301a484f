#include "core/formats/hub_cache.h"

#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/base/text.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum hub_presence hub_cache_presence(const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0) {
        return HUB_THERE;
    }
    return lstat(path, &info) == 0 ? HUB_BROKEN : HUB_ABSENT;
}

char *hub_cache_join(const char *folder, const char *name)
{
    struct text path = {0};
    text_string(&path, folder);
    if (!text_ends_with(folder, "/")) {
        text_char(&path, '/');
    }
    text_string(&path, name);
    return text_take(&path, NULL);
}

static bool is_folder(const char *path, struct timespec *changed)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return false;
    }
    if (changed) {
        *changed = info.st_mtim;
    }
    return true;
}

/* The snapshot that refs/main names, NULL if it is not there or says something else. */
static int main_snapshot(const char *path, const char *snapshots, char **found, struct status *st)
{
    char *ref = hub_cache_join(path, "refs/main");
    if (!ref) {
        return status_no_memory(st, strlen(path));
    }
    struct mapped_file file = {0};
    struct status ignored;
    int code = STATUS_OK;
    if (mapped_file_open(&file, ref, &ignored) == STATUS_OK && file.size > 0) {
        const char *text = (const char *)file.data;
        size_t n = 0;
        while (n < file.size && n < 200 && text[n] > ' ' && text[n] != '/') {
            n++;
        }
        char *hash = memory_string_n(text, n);
        char *snapshot = hash ? hub_cache_join(snapshots, hash) : NULL;
        if (!snapshot) {
            code = status_no_memory(st, n + strlen(snapshots));
        } else if (n > 0 && hash[0] != '.' && is_folder(snapshot, NULL)) {
            *found = snapshot;
            snapshot = NULL;
        }
        memory_free(snapshot);
        memory_free(hash);
    }
    mapped_file_close(&file);
    memory_free(ref);
    return code;
}

static int newest_snapshot(const char *snapshots, char **found, struct status *st)
{
    DIR *folder = opendir(snapshots);
    struct timespec newest = {0};
    int code = STATUS_OK;
    for (struct dirent *entry; folder && code == STATUS_OK && (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        struct timespec changed;
        char *candidate = hub_cache_join(snapshots, entry->d_name);
        if (!candidate) {
            code = status_no_memory(st, strlen(snapshots));
        } else if (is_folder(candidate, &changed) &&
                   (!*found || changed.tv_sec > newest.tv_sec ||
                    (changed.tv_sec == newest.tv_sec && changed.tv_nsec > newest.tv_nsec))) {
            memory_free(*found);
            *found = candidate;
            candidate = NULL;
            newest = changed;
        }
        memory_free(candidate);
    }
    if (folder) {
        (void)closedir(folder);
    }
    return code;
}

int hub_cache_snapshot(const char *path, char **snapshot, struct status *st)
{
    *snapshot = NULL;
    char *snapshots = hub_cache_join(path, "snapshots");
    if (!snapshots) {
        return status_no_memory(st, strlen(path));
    }
    int code = STATUS_OK;
    if (is_folder(snapshots, NULL)) {
        code = main_snapshot(path, snapshots, snapshot, st);
        if (code == STATUS_OK && !*snapshot) {
            code = newest_snapshot(snapshots, snapshot, st);
        }
        if (code == STATUS_OK && !*snapshot) {
            code = status_set(st, STATUS_NOT_FOUND,
                              "%s: expected a snapshot of the downloaded repository, found none; "
                              "download it again",
                              snapshots);
        }
    }
    if (code) {
        memory_free(*snapshot);
        *snapshot = NULL;
    }
    memory_free(snapshots);
    return code;
}

/* The last part of the n bytes of path that is not empty; *length is its length. */
static const char *last_part(const char *path, size_t n, size_t *length)
{
    while (n > 0 && path[n - 1] == '/') {
        n--;
    }
    size_t start = n;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    *length = n - start;
    return path + start;
}

/* The "models--ORG--NAME" part of path or of its grandparent if its parent is "snapshots". */
static const char *cache_part(const char *path, size_t *length)
{
    size_t n;
    const char *part = last_part(path, strlen(path), &n);
    if (!text_starts_with(part, "models--")) {
        part = last_part(path, (size_t)(part - path), &n);
        if (n != strlen("snapshots") || memcmp(part, "snapshots", n) != 0) {
            return NULL;
        }
        part = last_part(path, (size_t)(part - path), &n);
    }
    *length = n;
    return text_starts_with(part, "models--") ? part : NULL;
}

int hub_cache_name(const char *path, char **name, struct status *st)
{
    *name = NULL;
    char real[PATH_MAX];
    size_t n = 0;
    const char *part = cache_part(path, &n);
    if (!part && realpath(path, real)) {
        part = cache_part(real, &n);
    }
    if (!part) {
        return STATUS_OK;
    }
    const char *start = part + strlen("models--");
    size_t length = n - strlen("models--");
    const char *dashes = memmem(start, length, "--", 2);
    if (dashes) { /* a repository without an organisation has none */
        length -= (size_t)(dashes + 2 - start);
        start = dashes + 2;
    }
    *name = memory_string_n(start, length);
    return *name ? STATUS_OK : status_no_memory(st, length + 1);
}

static char *incomplete_in(const char *path, const char *name)
{
    char *folder = hub_cache_join(path, name);
    DIR *open = folder ? opendir(folder) : NULL;
    char *found = NULL;
    for (struct dirent *entry; open && !found && (entry = readdir(open));) {
        if (text_ends_with(entry->d_name, ".incomplete")) {
            found = hub_cache_join(folder, entry->d_name);
        }
    }
    if (open) {
        (void)closedir(open);
    }
    memory_free(folder);
    return found;
}

char *hub_cache_incomplete(const char *path)
{
    static const char *const places[] = {"blobs", "../../blobs", ".cache/huggingface/download"};
    char real[PATH_MAX];
    char *found = NULL;
    if (realpath(path, real)) {
        for (size_t i = 0; i < sizeof places / sizeof places[0] && !found; i++) {
            found = incomplete_in(real, places[i]);
        }
    }
    return found;
}

int hub_cache_missing(const char *folder, const char *expected, const char *found,
                      struct status *st)
{
    char *unfinished = hub_cache_incomplete(folder);
    int code = unfinished
                   ? status_set(st, STATUS_NOT_FOUND,
                                "%s: expected %s, found %s and an unfinished download (%s); "
                                "download it again",
                                folder, expected, found, unfinished)
                   : status_set(st, STATUS_NOT_FOUND,
                                "%s: expected %s, found %s; download it again or give another "
                                "folder",
                                folder, expected, found);
    memory_free(unfinished);
    return code;
}
