/* The files of an export: DIRECTORY/KIND/batch-N.jsonl.gz, 1024 lines each, gzip without a time, so
 * that the same lines give the same bytes. */
#ifndef DM_WORK_EXPORT_FILES_H
#define DM_WORK_EXPORT_FILES_H

#include "core/base/status.h"
#include "core/base/text.h"

#include <stddef.h>
#include <stdint.h>

enum { EXPORT_LINES = 1024 };

struct export_files {
    const char *folder, *kind; /* borrowed; kind is "features", ... */
    void *open;                /* a gzFile, NULL between files */
    struct text path;
    int64_t lines; /* written so far */
};

/* Makes the folder, which must be new or empty. */
int export_folder(const char *folder, struct status *st);

/* Writes a small plain file folder/name. */
int export_file(const char *folder, const char *name, const struct text *content,
                struct status *st);

/* Appends the line and its end. The folder of the kind is made with its first line. */
int export_line(struct export_files *files, const char *line, size_t n, struct status *st);

/* Closes the last file; call it in any case. An error that was there stays: pass its code. */
int export_end(struct export_files *files, int code, struct status *st);

#endif
