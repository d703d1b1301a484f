#include "server/work/spool.h"

#include "core/base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 18 };

struct spool {
    int file;
    uint64_t size;   /* buffer included */
    size_t buffered; /* bytes at the end that are not in the file yet */
    char buffer[BUFFER];
};

int spool_open(struct spool **out, struct status *st)
{
    const char *folder = getenv("TMPDIR");
    char path[512];
    *out = NULL;
    struct spool *s = memory_alloc(1, sizeof *s);
    if (!s) {
        return status_no_memory(st, sizeof *s);
    }
    (void)snprintf(path, sizeof path, "%s/darkmatter-XXXXXX", folder && *folder ? folder : "/tmp");
    s->size = s->buffered = 0;
    s->file = mkstemp(path);
    if (s->file < 0) {
        memory_free(s);
        return status_set(
            st, STATUS_IO,
            "a temporary file %s cannot be made: %s; set TMPDIR to a folder with room", path,
            strerror(errno));
    }
    (void)unlink(path);
    *out = s;
    return STATUS_OK;
}

void spool_close(struct spool *s)
{
    if (s) {
        (void)close(s->file);
        memory_free(s);
    }
}

static int io_failed(const char *what, ssize_t n, struct status *st)
{
    return status_set(st, STATUS_IO,
                      "a temporary file cannot be %s: %s; set TMPDIR to a folder with room", what,
                      n < 0 ? strerror(errno) : "it is too short");
}

static int flush(struct spool *s, struct status *st)
{
    uint64_t at = s->size - s->buffered;
    for (size_t done = 0; done < s->buffered;) {
        ssize_t n = pwrite(s->file, s->buffer + done, s->buffered - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return io_failed("written", n, st);
        }
        done += (size_t)n;
    }
    s->buffered = 0;
    return STATUS_OK;
}

int spool_append(struct spool *s, const void *bytes, size_t n, uint64_t *at, struct status *st)
{
    const char *from = bytes;
    *at = s->size;
    while (n) {
        size_t room = BUFFER - s->buffered;
        size_t part = n < room ? n : room;
        memcpy(s->buffer + s->buffered, from, part);
        s->buffered += part;
        s->size += part;
        from += part;
        n -= part;
        if (s->buffered == BUFFER && flush(s, st)) {
            return (int)st->code;
        }
    }
    return STATUS_OK;
}

int spool_read(struct spool *s, uint64_t at, void *bytes, size_t n, struct status *st)
{
    char *to = bytes;
    if (s->buffered && flush(s, st)) {
        return (int)st->code;
    }
    while (n) {
        ssize_t got = pread(s->file, to, n, (off_t)at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return io_failed("read", got, st);
        }
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return STATUS_OK;
}

uint64_t spool_size(const struct spool *s)
{
    return s->size;
}
