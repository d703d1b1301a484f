/* The only door to SQLite: one file, WAL, one writer, a read-only connection per reading thread.
 *
 * Tables and what they mean: migrations/NNNN_name.sql and docs/database.md. All calls may come
 * from any thread; writes take turns. A database of a newer darkmatter, a file that is no database
 * and a full or read-only disk each give one clear sentence. */
#ifndef DM_STORE_STORE_H
#define DM_STORE_STORE_H

#include "core/base/hash.h"
#include "core/base/sparse.h"
#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* Opens or creates the database and applies the migrations that it lacks, each in one transaction.
 */
int store_open(struct store **store, const char *path, const char *migrations, struct status *st);
void store_close(struct store *store); /* checkpoints; NULL is fine */

/* Row ids of what produced a number, made when new. Another identity under the same name is another
 * row: its values are never mixed with the old ones'. */
int store_model(struct store *store, const char *id, struct hash identity, int64_t *model,
                struct status *st);
struct store_source {
    const char *name;
    struct hash identity;
    int layer;
    const char *point; /* "resid_post" */
    size_t d_in, d_sae;
};
int store_source(struct store *store, int64_t model, const struct store_source *source,
                 int64_t *row, struct status *st);

/* --- the activation cache --------------------------------------------------------------------- */

/* The active features of every position of ids under the source (row ids from above), appended to
 * *rows when all n positions are there (*found), untouched otherwise. A damaged row counts as
 * absent, and so does one with an index that the source has not. A flipped bit inside a value
 * cannot be seen. */
int store_read_activations(struct store *store, int64_t model, int64_t source, const int32_t *ids,
                           size_t n, struct sparse *rows, bool *found, struct status *st);

/* One prompt's rows under one source. */
struct store_activations {
    int64_t source;
    const int32_t *ids;
    size_t n;                  /* = rows->rows */
    const struct sparse *rows; /* borrowed */
};

/* Writes all of them in one transaction, or none; n is at least 1. What is there already is kept as
 * it is, damaged rows excepted. */
int store_write_activations(struct store *store, int64_t model,
                            const struct store_activations *entries, size_t n_entries,
                            struct status *st);

/* A number that changes whenever something is written that the page of a feature shows: dashboards,
 * neighbours, explanations, imported files; by whichever process. 0: unknown. */
int store_pages_state(struct store *store, int64_t *state, struct status *st);

/* For /metrics and doctor: numbers of texts and activation rows, bytes of the file. */
struct store_figures {
    int64_t texts, activations, bytes;
};
int store_figures(struct store *store, struct store_figures *figures, struct status *st);

/* Takes the lock that there is once for a database, whoever asks in whichever process: *lock is -1
 * if another has it (*holder is that process; 0: unknown), else it is to be given back. */
int store_lock_index(struct store *store, int *lock, int64_t *holder, struct status *st);
void store_unlock_index(int lock); /* -1 is fine */

#endif
