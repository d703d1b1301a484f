#include "server/work/lines.h"

#include "core/base/memory.h"
#include "core/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK = 1 << 16, DEPTH_LIMIT = 64 };

struct file {
    char *path;
    uint64_t bytes;
};

struct lines {
    struct file *files;
    size_t n_files, capacity;
    size_t next_file; /* the one that is opened next */
    gzFile open;      /* NULL between files */
    const char *name; /* of the open one */
    bool is_plain;    /* it is a text file */
    int64_t line;     /* records of the open file so far */
    int64_t number;   /* of all files */
    uint64_t done;    /* bytes of the files behind us */
    char block[BLOCK];
    size_t at, filled; /* of block */
    struct text record;
};

/* --- which files ------------------------------------------------------------------------------ */

static bool is_text_file(const char *path)
{
    return text_ends_with(path, ".txt") || text_ends_with(path, ".txt.gz");
}

static bool is_corpus_file(const char *path)
{
    static const char *const ends[] = {".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (text_ends_with(path, ends[i])) {
            return true;
        }
    }
    return is_text_file(path);
}

static int add_file(struct lines *lines, const char *path, uint64_t bytes, struct status *st)
{
    if (lines->n_files == lines->capacity) {
        size_t capacity = lines->capacity ? 2 * lines->capacity : 8;
        struct file *grown = memory_resize(lines->files, capacity, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, capacity * sizeof *grown);
        }
        lines->files = grown;
        lines->capacity = capacity;
    }
    char *copy = memory_string(path);
    if (!copy) {
        return status_no_memory(st, strlen(path));
    }
    lines->files[lines->n_files++] = (struct file){copy, bytes};
    return STATUS_OK;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static int add_folder(struct lines *lines, const char *folder, int depth, struct status *st)
{
    DIR *d = opendir(folder);
    if (!d) {
        return status_set(st, STATUS_IO, "%s: %s", folder, strerror(errno));
    }
    struct text path = {0};
    int code = STATUS_OK;
    for (struct dirent *e; !code && (e = readdir(d)) != NULL;) {
        struct stat link, info;
        if (e->d_name[0] == '.') {
            continue;
        }
        text_clear(&path);
        text_printf(&path, "%s/%s", folder, e->d_name);
        if (path.failed) {
            code = status_no_memory(st, strlen(folder));
        } else if (lstat(path.data, &link) || stat(path.data, &info)) {
            code = status_set(st, STATUS_IO, "%s: %s", path.data, strerror(errno));
        } else if (S_ISDIR(link.st_mode)) {
            code = depth < DEPTH_LIMIT
                       ? add_folder(lines, path.data, depth + 1, st)
                       : status_set(st, STATUS_INVALID, "%s: folders are nested deeper than %d",
                                    path.data, DEPTH_LIMIT);
        } else if (S_ISREG(info.st_mode) && is_corpus_file(path.data)) {
            code = add_file(lines, path.data, (uint64_t)info.st_size, st);
        }
    }
    text_free(&path);
    (void)closedir(d);
    return code;
}

static int find_files(struct lines *lines, const char *path, struct status *st)
{
    struct stat info;
    if (strcmp(path, "-") == 0) {
        return add_file(lines, path, 0, st);
    }
    if (stat(path, &info)) {
        return status_set(st, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                          "the corpus %s cannot be read: %s", path, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) {
        return add_file(lines, path, S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0, st);
    }
    int code = add_folder(lines, path, 0, st);
    if (!code && lines->n_files == 0) {
        code =
            status_set(st, STATUS_NOT_FOUND,
                       "%s: expected .jsonl or .txt files (or .gz of them) in this folder, found "
                       "none",
                       path);
    }
    if (!code) {
        qsort(lines->files, lines->n_files, sizeof *lines->files, by_path);
    }
    return code;
}

int lines_open(struct lines **out, const char *path, struct status *st)
{
    struct lines *lines = memory_zalloc(1, sizeof *lines);
    *out = NULL;
    if (!lines) {
        return status_no_memory(st, sizeof *lines);
    }
    int code = find_files(lines, path, st);
    if (code) {
        lines_close(lines);
        return code;
    }
    *out = lines;
    return STATUS_OK;
}

void lines_close(struct lines *lines)
{
    if (!lines) {
        return;
    }
    if (lines->open) {
        (void)gzclose(lines->open);
    }
    for (size_t i = 0; i < lines->n_files; i++) {
        memory_free(lines->files[i].path);
    }
    memory_free(lines->files);
    text_free(&lines->record);
    memory_free(lines);
}

/* --- reading ---------------------------------------------------------------------------------- */

static int open_file(struct lines *lines, struct status *st)
{
    const struct file *file = &lines->files[lines->next_file++];
    bool is_stdin = strcmp(file->path, "-") == 0;
    int copy = is_stdin ? dup(STDIN_FILENO) : -1;
    errno = 0;
    lines->open = is_stdin ? gzdopen(copy, "rb") : gzopen(file->path, "rb");
    if (!lines->open) {
        int code = status_set(st, STATUS_IO, "the corpus %s cannot be read: %s", file->path,
                              errno ? strerror(errno) : "out of memory");
        if (copy >= 0) {
            (void)close(copy);
        }
        return code;
    }
    lines->name = is_stdin ? "the standard input" : file->path;
    lines->is_plain = !is_stdin && is_text_file(file->path);
    lines->line = 0;
    lines->at = lines->filled = 0;
    return STATUS_OK;
}

static void close_file(struct lines *lines)
{
    (void)gzclose(lines->open);
    lines->open = NULL;
    lines->done += lines->files[lines->next_file - 1].bytes;
}

/* More bytes into the block; none (filled 0) at the end of the file. */
static int fill_block(struct lines *lines, struct status *st)
{
    int problem = Z_OK;
    int n = gzread(lines->open, lines->block, BLOCK);
    const char *reason = n <= 0 ? gzerror(lines->open, &problem) : NULL;
    lines->at = 0;
    lines->filled = n > 0 ? (size_t)n : 0;
    if (n < 0 || problem == Z_BUF_ERROR) {
        return status_set(st, problem == Z_ERRNO ? STATUS_IO : STATUS_CORRUPT, "%s: %s",
                          lines->name,
                          problem == Z_ERRNO       ? strerror(errno)
                          : problem == Z_BUF_ERROR ? "the gzip data are cut off"
                                                   : reason);
    }
    return STATUS_OK;
}

/* The next record of the open file into lines->record: up to the line's end, or the whole file.
 * *any says whether there was one. */
static int read_record(struct lines *lines, bool *any, bool *too_long, struct status *st)
{
    *any = *too_long = false;
    text_clear(&lines->record);
    for (;;) {
        if (lines->at == lines->filled) {
            int code = fill_block(lines, st);
            if (code || !lines->filled) {
                return code;
            }
        }
        const char *from = lines->block + lines->at;
        size_t left = lines->filled - lines->at;
        const char *end = lines->is_plain ? NULL : memchr(from, '\n', left);
        size_t n = end ? (size_t)(end - from) : left;
        *any = true;
        *too_long = *too_long || n > LINES_RECORD_LIMIT - lines->record.length;
        if (!*too_long) {
            text_append(&lines->record, from, n);
        }
        lines->at += n + (end != NULL);
        if (lines->record.failed) {
            return status_no_memory(st, lines->record.length);
        }
        if (end) {
            return STATUS_OK;
        }
    }
}

int lines_next(struct lines *lines, struct lines_record *record, bool *found, struct status *st)
{
    *found = false;
    for (;;) {
        if (!lines->open) {
            if (lines->next_file == lines->n_files) {
                return STATUS_OK;
            }
            int code = open_file(lines, st);
            if (code) {
                return code;
            }
        }
        bool too_long;
        int code = read_record(lines, found, &too_long, st);
        if (code) {
            return code;
        }
        if (!*found) {
            close_file(lines);
            continue;
        }
        size_t n = lines->record.length;
        n -= !lines->is_plain && n > 0 && lines->record.data[n - 1] == '\r';
        *record = (struct lines_record){.bytes = lines->record.data ? lines->record.data : "",
                                        .n = too_long ? 0 : n,
                                        .is_plain = lines->is_plain,
                                        .is_too_long = too_long,
                                        .file = lines->name,
                                        .line = ++lines->line,
                                        .number = ++lines->number};
        return STATUS_OK;
    }
}

void lines_skip_file(struct lines *lines)
{
    if (lines->open) {
        close_file(lines);
    }
}

void lines_position(const struct lines *lines, uint64_t *done, uint64_t *total)
{
    *total = 0;
    for (size_t i = 0; i < lines->n_files; i++) {
        *total += lines->files[i].bytes;
    }
    z_off_t here = lines->open ? gzoffset(lines->open) : 0;
    if (here > 0 && gzdirect(lines->open)) {
        here -= (z_off_t)(lines->filled - lines->at); /* read ahead */
    }
    *done = lines->done + (here > 0 ? (uint64_t)here : 0);
}
