#include "core/base/new_file.h"

#include "core/base/memory.h"
#include "core/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int fail(const struct new_file *file, struct status *st)
{
    return status_set(st, STATUS_IO, "%s: cannot be written: %s", file->path, strerror(errno));
}

static void forget(struct new_file *file)
{
    memory_free(file->path);
    memory_free(file->partial);
    *file = (struct new_file){0};
}

int new_file_open(struct new_file *file, const char *path, struct status *st)
{
    struct text partial = {0};
    size_t n;
    text_printf(&partial, "%s.partial", path);
    *file = (struct new_file){.path = memory_string(path), .partial = text_take(&partial, &n)};
    int code = STATUS_OK;
    if (!file->path || !file->partial) {
        code = status_no_memory(st, strlen(path));
    } else if (!(file->f = fopen(file->partial, "wb"))) {
        code = fail(file, st);
    }
    if (code) {
        forget(file);
    }
    return code;
}

int new_file_write(struct new_file *file, const void *bytes, size_t n, struct status *st)
{
    return n == 0 || fwrite(bytes, 1, n, file->f) == n ? STATUS_OK : fail(file, st);
}

/* The rename is on the disk once the folder is. */
static bool sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? memory_string_n(path, (size_t)(slash - path) + 1) : memory_string(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    memory_free(folder);
    return done;
}

int new_file_end(struct new_file *file, int code, struct status *st)
{
    if (!code && (fflush(file->f) != 0 || fsync(fileno(file->f)) != 0)) {
        code = fail(file, st);
    }
    if (fclose(file->f) != 0 && !code) {
        code = fail(file, st);
    }
    if (!code && (rename(file->partial, file->path) != 0 || !sync_folder(file->path))) {
        code = fail(file, st);
    }
    if (code) {
        (void)unlink(file->partial);
    }
    forget(file);
    return code;
}
