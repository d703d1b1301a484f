/* What features write into the vocabulary: from the weights alone, so it is kept beside dashboards.
 */
#include "server/store/dashboards.h"
#include "server/store/dashboards_blob.h"
#include "server/store/dashboards_builds.h"
#include "server/store/store_private.h"

#include <inttypes.h>

/* A source's row stands for weights and numerics (store.h), so what is there is the same, unless it
 * is damaged. */
static const char sql_add_logits[] =
    "INSERT INTO feature_logits (source, number, logits) VALUES (:source, :number, :logits)"
    " ON CONFLICT DO UPDATE SET logits = excluded.logits WHERE logits <> excluded.logits";

int dashboards_put_logits(struct connection *c, struct text *scratch, int64_t source,
                          const struct store_feature *feature, struct status *st)
{
    sqlite3_stmt *s;
    text_clear(scratch);
    dashboards_blob_logits(scratch, feature);
    if (scratch->failed) {
        return status_no_memory(st, sizeof *feature);
    }
    if (connection_prepare(c, sql_add_logits, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0 ||
        connection_bind_integer(c, s, ":number", feature->index, st) != 0 ||
        connection_bind_blob(c, s, ":logits", scratch->data, scratch->length, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

int store_write_logits(struct store *store, int64_t source, const struct store_feature *features,
                       size_t n, struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    for (size_t i = 0; i < n && code == 0; i++) {
        code = dashboards_put_logits(&store->writer, &store->scratch, source, &features[i], st);
    }
    return store_write_end(store, code, st);
}

static const char sql_read_logits[] = "SELECT number, logits FROM feature_logits"
                                      " WHERE source = :source AND number >= :first"
                                      " AND number < :end ORDER BY number";

/* The rows as long as they follow one another. A damaged one counts as absent. */
static int read_rows(struct connection *c, sqlite3_stmt *s, uint32_t first, size_t n,
                     struct store_feature *features, bool *found, struct status *st)
{
    *found = true;
    for (size_t i = 0; i < n && *found; i++) {
        if (connection_step(c, s, found, st) != 0) {
            return (int)st->code;
        }
        struct store_feature *f = &features[i];
        *found = *found && sqlite3_column_int64(s, 0) == (int64_t)first + (int64_t)i &&
                 dashboards_blob_read_logits(sqlite3_column_blob(s, 1),
                                             (size_t)sqlite3_column_bytes(s, 1), f) &&
                 f->has_logits;
        f->index = first + (uint32_t)i;
    }
    (void)sqlite3_reset(s);
    return 0;
}

int store_read_logits(struct store *store, int64_t source, uint32_t first, size_t n,
                      struct store_feature *features, bool *found, struct status *st)
{
    struct connection c;
    sqlite3_stmt *s;
    *found = false;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    if (connection_prepare(&c, sql_read_logits, &s, st) != 0 ||
        connection_bind_integer(&c, s, ":source", source, st) != 0 ||
        connection_bind_integer(&c, s, ":first", first, st) != 0 ||
        connection_bind_integer(&c, s, ":end", (int64_t)first + (int64_t)n, st) != 0) {
        code = (int)st->code;
    } else {
        code = read_rows(&c, s, first, n, features, found, st);
    }
    store_read_end(store, &c);
    return code;
}
