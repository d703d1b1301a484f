/* Token sequences, each kept once for each model. */
#include "server/store/store_private.h"

#include <stdint.h>

void store_text_hash(const int32_t *ids, size_t n, uint8_t hash[HASH_BYTES])
{
    struct hash h = hash_start();
    hash_add(&h, ids, n * sizeof *ids); /* little endian, as stored: blob.c sees to it */
    hash_bytes(h, hash);
}

static const char sql_find_text[] =
    "SELECT id, ids FROM text WHERE model = :model AND hash = :hash";

static const char sql_add_text[] = "INSERT INTO text (model, hash, n_tokens, ids)"
                                   " VALUES (:model, :hash, :n_tokens, :ids) RETURNING id";

int store_text_row(struct connection *c, int64_t model, const int32_t *ids, size_t n, int64_t *text,
                   bool *mine, struct status *st)
{
    uint8_t hash[HASH_BYTES];
    store_text_hash(ids, n, hash);
    sqlite3_stmt *s;
    bool row;
    *mine = true;
    if (connection_prepare(c, sql_find_text, &s, st) != 0 ||
        connection_bind_integer(c, s, ":model", model, st) != 0 ||
        connection_bind_blob(c, s, ":hash", hash, sizeof hash, st) != 0 ||
        connection_step(c, s, &row, st) != 0) {
        return (int)st->code;
    }
    if (row) {
        *mine = connection_column_equals(s, 1, ids, n * sizeof *ids);
    } else if (connection_prepare(c, sql_add_text, &s, st) != 0 ||
               connection_bind_integer(c, s, ":model", model, st) != 0 ||
               connection_bind_blob(c, s, ":hash", hash, sizeof hash, st) != 0 ||
               connection_bind_integer(c, s, ":n_tokens", (int64_t)n, st) != 0 ||
               connection_bind_blob(c, s, ":ids", ids, n * sizeof *ids, st) != 0 ||
               connection_step(c, s, &row, st) != 0) {
        return (int)st->code;
    }
    *text = sqlite3_column_int64(s, 0);
    (void)sqlite3_reset(s);
    return 0;
}
