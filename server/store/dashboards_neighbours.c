/* Nearest features by decoder cosine, kept after they were first asked for. */
#include "core/base/memory.h"
#include "server/store/dashboards.h"
#include "server/store/store_private.h"

#include <stdint.h>
#include <string.h>

enum { PAIR = sizeof(uint32_t) + sizeof(float) };

static const char sql_read[] = "SELECT nearest FROM neighbour"
                               " WHERE source = :source AND number = :number AND target = :target";

int store_read_neighbours(struct store *store, int64_t source, uint32_t index, int64_t target,
                          uint32_t *nearest, float *cosine, size_t capacity, size_t *n,
                          struct status *st)
{
    struct connection c;
    *n = 0;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    sqlite3_stmt *s;
    bool row;
    int code = 0;
    if (connection_prepare(&c, sql_read, &s, st) != 0 ||
        connection_bind_integer(&c, s, ":source", source, st) != 0 ||
        connection_bind_integer(&c, s, ":number", index, st) != 0 ||
        connection_bind_integer(&c, s, ":target", target, st) != 0 ||
        connection_step(&c, s, &row, st) != 0) {
        code = (int)st->code;
    } else if (row) {
        const uint8_t *pairs = sqlite3_column_blob(s, 0);
        size_t kept = (size_t)sqlite3_column_bytes(s, 0) / PAIR;
        *n = kept < capacity ? kept : capacity;
        for (size_t i = 0; i < *n; i++) {
            memcpy(&nearest[i], pairs + i * PAIR, sizeof *nearest);
            memcpy(&cosine[i], pairs + i * PAIR + sizeof *nearest, sizeof *cosine);
        }
        (void)sqlite3_reset(s);
    }
    store_read_end(store, &c);
    return code;
}

static const char sql_write[] = "INSERT INTO neighbour (source, number, target, nearest)"
                                " VALUES (:source, :number, :target, :nearest)"
                                " ON CONFLICT DO UPDATE SET nearest = excluded.nearest";

int store_write_neighbours(struct store *store, int64_t source, uint32_t index, int64_t target,
                           const uint32_t *nearest, const float *cosine, size_t n,
                           struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    struct connection *c = &store->writer;
    struct text *pairs = &store->scratch;
    text_clear(pairs);
    for (size_t i = 0; i < n; i++) {
        text_append(pairs, (const char *)&nearest[i], sizeof nearest[i]);
        text_append(pairs, (const char *)&cosine[i], sizeof cosine[i]);
    }
    sqlite3_stmt *s;
    int code = 0;
    if (pairs->failed) {
        code = status_no_memory(st, n * PAIR);
    } else if (connection_prepare(c, sql_write, &s, st) != 0 ||
               connection_bind_integer(c, s, ":source", source, st) != 0 ||
               connection_bind_integer(c, s, ":number", index, st) != 0 ||
               connection_bind_integer(c, s, ":target", target, st) != 0 ||
               connection_bind_blob(c, s, ":nearest", n ? pairs->data : "", pairs->length, st) !=
                   0 ||
               connection_step_done(c, s, st) != 0) {
        code = (int)st->code;
    }
    return store_write_end(store, code, st);
}
