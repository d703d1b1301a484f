/* A file that is there whole or not at all: written beside its place, put on the disk, renamed.
 * What a process that was killed leaves is PATH.partial, and the next one overwrites it. */
#ifndef DM_BASE_NEW_FILE_H
#define DM_BASE_NEW_FILE_H

#include "core/base/status.h"

#include <stddef.h>
#include <stdio.h>

/* Zeroed by new_file_open. */
struct new_file {
    FILE *f;
    char *path, *partial;
};

int new_file_open(struct new_file *file, const char *path, struct status *st);
int new_file_write(struct new_file *file, const void *bytes, size_t n, struct status *st);

/* With code 0 the file is in its place and on the disk when this returns 0; otherwise, or if that
 * fails, there is nothing, and the code comes back. After a failed open there is nothing to end. */
int new_file_end(struct new_file *file, int code, struct status *st);

#endif
