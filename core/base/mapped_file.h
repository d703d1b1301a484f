/* A whole file, mapped read-only. Weights are used in place, so a mapping lives as long as every
 * tensor that points into it. */
#ifndef DM_BASE_MAPPED_FILE_H
#define DM_BASE_MAPPED_FILE_H

#include "core/base/status.h"

#include <stddef.h>
#include <stdint.h>

struct mapped_file {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
    char *path; /* owned */
};

/* Follows symbolic links (hub snapshots are made of them); a broken link, a folder or an unreadable
 * file is STATUS_IO or STATUS_NOT_FOUND with the path and the reason. */
int mapped_file_open(struct mapped_file *file, const char *path, struct status *st);

/* Tells the kernel that the pages may go: the next read brings them back from the disk. */
void mapped_file_release_pages(const struct mapped_file *file);

/* Safe on a zeroed struct and twice. */
void mapped_file_close(struct mapped_file *file);

#endif
