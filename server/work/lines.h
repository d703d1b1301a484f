/* The records of a corpus as they lie in files: lines of JSON, or whole text files.
 *
 * A path is a file, a folder (searched to the bottom for .jsonl, .ndjson and .txt files and their
 * .gz forms, in the order of their paths; hidden files and links to folders are left out) or "-",
 * the standard input. Files may be compressed with gzip whatever they are called. A .txt file is
 * one record; every other file, and the standard input, has one on each line. */
#ifndef DM_WORK_LINES_H
#define DM_WORK_LINES_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of one record; a longer one is given without its bytes. */
#define LINES_RECORD_LIMIT ((size_t)64 << 20)

struct lines;

struct lines_record {
    const char *bytes; /* [n], until the next call; without the line's end */
    size_t n;
    bool is_plain;    /* a text file */
    bool is_too_long; /* n is 0 */
    const char *file; /* for messages */
    int64_t line;     /* in the file, from 1 */
    int64_t number;   /* over all files, from 1 */
};

/* A path that is not there, or a folder that holds no such file, is an error. */
int lines_open(struct lines **out, const char *path, struct status *st);

/* *found is false behind the last record. Unreadable files and damaged or cut gzip data are errors
 * that name the file. */
int lines_next(struct lines *lines, struct lines_record *record, bool *found, struct status *st);

/* Gives up the rest of the file that is being read, after an error in it; the next one follows. */
void lines_skip_file(struct lines *lines);

/* How much was read, in bytes of the files as they lie on the disk; *total 0 where unknown. */
void lines_position(const struct lines *lines, uint64_t *done, uint64_t *total);

void lines_close(struct lines *lines); /* NULL is fine */

#endif
