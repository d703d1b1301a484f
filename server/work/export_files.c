#include "server/work/export_files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static int make_folder(const char *path, struct status *st)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return status_set(st, STATUS_IO, "%s: the folder cannot be made: %s", path,
                          strerror(errno));
    }
    return STATUS_OK;
}

int export_folder(const char *folder, struct status *st)
{
    int code = make_folder(folder, st);
    if (code) {
        return code;
    }
    DIR *d = opendir(folder);
    if (!d) {
        return status_set(st, STATUS_IO, "%s: expected a folder: %s", folder, strerror(errno));
    }
    for (struct dirent *e; !code && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            code = status_set(st, STATUS_INVALID,
                              "%s: expected a new or empty folder, found %s in it: old batches "
                              "would mix with the new ones",
                              folder, e->d_name);
        }
    }
    (void)closedir(d);
    return code;
}

static int cannot_write(const char *path, struct status *st)
{
    return status_set(st, STATUS_IO, "%s: writing failed: %s", path,
                      errno ? strerror(errno) : "zlib says no");
}

int export_file(const char *folder, const char *name, const struct text *content, struct status *st)
{
    struct text path = {0};
    text_printf(&path, "%s/%s", folder, name);
    if (path.failed || content->failed) {
        text_free(&path);
        return status_no_memory(st, strlen(folder));
    }
    errno = 0;
    FILE *f = fopen(path.data, "wb");
    bool good = f && fwrite(content->data, 1, content->length, f) == content->length;
    good = f && fclose(f) == 0 && good;
    int code = good ? STATUS_OK : cannot_write(path.data, st);
    text_free(&path);
    return code;
}

static int open_batch(struct export_files *files, struct status *st)
{
    text_clear(&files->path);
    text_printf(&files->path, "%s/%s", files->folder, files->kind);
    if (files->path.failed) {
        return status_no_memory(st, strlen(files->folder));
    }
    int code = make_folder(files->path.data, st);
    text_printf(&files->path, "/batch-%" PRId64 ".jsonl.gz", files->lines / EXPORT_LINES);
    if (!code && files->path.failed) {
        code = status_no_memory(st, strlen(files->folder));
    }
    if (!code) {
        errno = 0;
        files->open = gzopen(files->path.data, "wb");
        code = files->open ? STATUS_OK : cannot_write(files->path.data, st);
    }
    return code;
}

static int close_batch(struct export_files *files, struct status *st)
{
    errno = 0;
    int result = gzclose(files->open);
    files->open = NULL;
    return result == Z_OK ? STATUS_OK : cannot_write(files->path.data, st);
}

int export_line(struct export_files *files, const char *line, size_t n, struct status *st)
{
    int code = STATUS_OK;
    if (files->open && files->lines % EXPORT_LINES == 0) {
        code = close_batch(files, st);
    }
    if (!code && !files->open) {
        code = open_batch(files, st);
    }
    errno = 0;
    if (!code && (gzfwrite(line, 1, n, files->open) != n || gzputc(files->open, '\n') != '\n')) {
        code = cannot_write(files->path.data, st);
    }
    files->lines += !code;
    return code;
}

int export_end(struct export_files *files, int code, struct status *st)
{
    struct status late = {0};
    if (files->open && close_batch(files, &late) && !code) {
        *st = late;
        code = (int)st->code;
    }
    text_free(&files->path);
    return code;
}
