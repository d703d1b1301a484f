/* A database looked at from outside: whose it is, whether it is whole, what is in it. Nothing of it
 * is made, migrated or changed; like any program that opens it, SQLite may write back the log that
 * a killed one left. */
#ifndef DM_STORE_INSPECT_H
#define DM_STORE_INSPECT_H

#include "core/base/hash.h"
#include "core/base/status.h"

#include <stddef.h>
#include <stdint.h>

#define INSPECT_MODELS 32
#define INSPECT_NAME 128

struct inspect_model {
    char name[INSPECT_NAME];
    uint8_t identity[HASH_BYTES]; /* as hash_bytes writes it */
    int64_t sources, texts;
};

struct inspect_report {
    int64_t schema; /* the last migration that it has; those up to `known` are applied at start */
    int known;
    int64_t bytes, free_bytes; /* of the file; of these, unused pages */
    int64_t texts, explanations;
    char damage[256];      /* what integrity_check says first; "" for nothing */
    struct status writing; /* why it cannot be written now; code 0 if it can */
    struct inspect_model models[INSPECT_MODELS];
    size_t n_models; /* at most INSPECT_MODELS of them, the newest first */
};

/* migrations: the folder. STATUS_NOT_FOUND if the file is not there; else as store_open: another
 * program's, a newer darkmatter's, no database at all. Reads the whole file. */
int inspect_database(struct inspect_report *report, const char *path, const char *migrations,
                     struct status *st);

#endif
