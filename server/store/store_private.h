/* What the files of server/store share: the store itself, a turn at writing, a reading connection.
 */
#ifndef DM_STORE_STORE_PRIVATE_H
#define DM_STORE_STORE_PRIVATE_H

#include "core/base/hash.h"
#include "core/base/text.h"
#include "server/store/connection.h"
#include "server/store/store.h"

#include <pthread.h>

enum { STORE_READERS_KEPT = 16 };

struct store {
    char *path;
    int busy_ms;
    pthread_mutex_t write_lock; /* guards the next two */
    struct connection writer;
    struct text scratch;       /* one encoded row */
    pthread_mutex_t read_lock; /* guards the next two */
    struct connection readers[STORE_READERS_KEPT];
    size_t n_readers; /* idle ones; those in use belong to their users */
};

/* store_open's choices, for tests. */
struct store_options {
    int busy_ms;       /* how long to wait for another process */
    int64_t max_pages; /* the file's limit, as if the disk were full there; 0: none */
};
int store_open_with(struct store **store, const char *path, const char *migrations,
                    const struct store_options *options, struct status *st);

/* One turn at writing is one transaction: begin, the work, end with the work's code. End commits if
 * that is 0, rolls back otherwise, and returns the code of the whole. After a failed begin there is
 * nothing to end. */
int store_write_begin(struct store *store, struct status *st);
int store_write_end(struct store *store, int code, struct status *st);

/* A reading connection for the caller alone, opened if none is idle; give it back. */
int store_read_begin(struct store *store, struct connection *c, struct status *st);
void store_read_end(struct store *store, struct connection *c);

/* The hash under which a token sequence is kept. */
void store_text_hash(const int32_t *ids, size_t n, uint8_t hash[HASH_BYTES]);

/* The text's row, made if new, inside a turn at writing; *mine is false if another text has the
 * same hash, which keeps this one out of the database for good. */
int store_text_row(struct connection *c, int64_t model, const int32_t *ids, size_t n, int64_t *text,
                   bool *mine, struct status *st);

#endif
