/* Many features of a dashboard without their examples: lists, sorting, search by token. */
#include "server/store/dashboards.h"
#include "server/store/dashboards_blob.h"
#include "server/store/store_private.h"

#include <inttypes.h>

static const char sql_visit_features[] =
    "SELECT f.number, f.count, f.maximum, f.statistic, l.logits, f.label FROM dashboard d"
    " JOIN feature f ON f.build = d.build AND f.number >= :first AND f.number < :end"
    " LEFT JOIN feature_logits l ON l.source = d.source AND l.number = f.number"
    " WHERE d.source = :source ORDER BY f.number";

/* False if a blob is damaged. */
static bool take_feature(sqlite3_stmt *s, struct store_feature *f)
{
    const char *label = (const char *)sqlite3_column_text(s, 5);
    *f = (struct store_feature){.index = (uint32_t)sqlite3_column_int64(s, 0),
                                .count = sqlite3_column_int64(s, 1),
                                .maximum = (float)sqlite3_column_double(s, 2),
                                .label = label ? label : ""};
    return dashboards_blob_read_statistic(sqlite3_column_blob(s, 3),
                                          (size_t)sqlite3_column_bytes(s, 3), f) &&
           dashboards_blob_read_logits(sqlite3_column_blob(s, 4),
                                       (size_t)sqlite3_column_bytes(s, 4), f);
}

static int visit_rows(struct connection *c, sqlite3_stmt *s, int64_t source,
                      int (*visit)(void *user, const struct store_feature *feature), void *user,
                      struct status *st)
{
    for (;;) {
        bool row;
        struct store_feature f;
        if (connection_step(c, s, &row, st) != 0) {
            return (int)st->code;
        }
        if (!row) {
            return 0;
        }
        if (!take_feature(s, &f)) {
            (void)sqlite3_reset(s);
            return status_set(st, STATUS_CORRUPT,
                              "feature %" PRIu32 " of source %" PRId64 " is damaged: index the "
                              "source again",
                              f.index, source);
        }
        if (visit(user, &f)) {
            (void)sqlite3_reset(s);
            return 0;
        }
    }
}

int store_visit_features(struct store *store, int64_t source, uint32_t first, size_t n,
                         int (*visit)(void *user, const struct store_feature *feature), void *user,
                         struct status *st)
{
    struct connection c;
    sqlite3_stmt *s;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int64_t end = n < UINT32_MAX ? (int64_t)first + (int64_t)n : INT64_MAX;
    int code = 0;
    if (connection_prepare(&c, sql_visit_features, &s, st) != 0 ||
        connection_bind_integer(&c, s, ":source", source, st) != 0 ||
        connection_bind_integer(&c, s, ":first", first, st) != 0 ||
        connection_bind_integer(&c, s, ":end", end, st) != 0) {
        code = (int)st->code;
    } else {
        code = visit_rows(&c, s, source, visit, user, st);
    }
    store_read_end(store, &c);
    return code;
}
