/* Reads Neuronpedia's export files into the database: explanations, features and activations, one
 * JSON object a line, compressed or not (neuronpedia.md section 4; files and folders: lines.h).
 *
 * What a line is, its keys say, not the file's name. Embeddings are left out; explanations without
 * a description are dropped and counted; lines about models, source sets and sources are counted
 * and left alone. A wrong line is named with the reason and counted, and costs no other line; so is
 * a file that breaks off. The same line read twice is kept once: by its id, or, where it has none,
 * by its content. */
#ifndef DM_WORK_IMPORT_LINES_H
#define DM_WORK_IMPORT_LINES_H

#include "core/base/status.h"
#include "server/store/store.h"

#include <stddef.h>
#include <stdint.h>

enum { IMPORT_NAMED = 100 }; /* wrong lines that are named */

struct import_figures {
    int64_t explanations, features, activations;
    int64_t empty;        /* explanations without a description */
    int64_t other;        /* lines about models, source sets and sources */
    int64_t wrong;        /* lines and files */
    uint64_t done, total; /* bytes of the path that is read; total 0 where unknown */
};

struct import_options {
    /* "FILE:LINE: reason" for the first IMPORT_NAMED wrong lines; may be NULL. */
    void (*notice)(void *user, const char *line);
    /* After each batch; may be NULL. Non-zero stops with STATUS_CANCELLED. */
    int (*progress)(void *user, const struct import_figures *figures);
    void *user;
};

/* Reads the path (a file, a folder, "-") and adds to *figures. An error is one of the path as a
 * whole, of the database or of memory: what was read before is kept. */
int import_lines(struct store *store, const char *path, const struct import_options *options,
                 struct import_figures *figures, struct status *st);

#endif
