/* A whole file, mapped read-only. Weights are used in place, so a mapping lives as long as every
 * tensor that points into it.
 *
 * The file may change meanwhile. One that is replaced (renamed over, deleted) stays as it was, for
 * us. One that is truncated or written in place does not: no read of it ends the process
 * (mapped_guard.h), and mapped_file_state says so afterwards. */
#ifndef DM_BASE_MAPPED_FILE_H
#define DM_BASE_MAPPED_FILE_H

#include "core/base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mapped_file {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
    char *path;                     /* owned */
    int fd, guard;                  /* of a file that is not empty */
    atomic_int_fast64_t written_ns; /* when it was written last, as far as we have looked */
};

enum mapped_state {
    MAPPED_SAME,
    MAPPED_TOUCHED, /* written to, or only said to be; its size is what it was */
    MAPPED_BROKEN   /* another size, or pages could not be read: what was read may be zeros */
};

/* Follows symbolic links (hub snapshots are made of them); a broken link, a folder or an unreadable
 * file is STATUS_IO or STATUS_NOT_FOUND with the path and the reason. */
int mapped_file_open(struct mapped_file *file, const char *path, struct status *st);

/* What became of the file since it was opened, or since the last mapped_file_accept. From any
 * thread. */
enum mapped_state mapped_file_state(const struct mapped_file *file);

/* STATUS_CORRUPT with the path unless its state is MAPPED_SAME: what was read since is not to be
 * trusted. */
int mapped_file_check(const struct mapped_file *file, struct status *st);

/* The contents were looked at again and are the same: a touched file counts as unchanged. */
void mapped_file_accept(struct mapped_file *file);

/* Tells the kernel that the pages may go: the next read brings them back from the disk. */
void mapped_file_release_pages(const struct mapped_file *file);

/* Brings the pages of data [n], a piece of a mapping, into memory and into this process's tables,
 * so that the first read of them need not wait; false if some of them cannot be read. */
bool mapped_file_read_ahead(const void *data, size_t n);

/* Safe on a zeroed struct and twice. */
void mapped_file_close(struct mapped_file *file);

#endif
