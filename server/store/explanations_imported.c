/* Imported dashboards, line by line as they came. */
#include "server/store/explanations.h"
#include "server/store/store_private.h"

static const char sql_put_feature[] =
    "INSERT INTO imported_feature (model, source, number, line)"
    " VALUES (:model, :source, :number, :line) ON CONFLICT DO UPDATE SET line = excluded.line";
static const char sql_put_example[] =
    "INSERT INTO imported_example (id, model, source, number, line)"
    " VALUES (:id, :model, :source, :number, :line)"
    " ON CONFLICT (id) DO UPDATE SET model = excluded.model, source = excluded.source,"
    " number = excluded.number, line = excluded.line";

static int put(struct connection *c, const struct store_imported *line, struct status *st)
{
    sqlite3_stmt *s;
    if (connection_prepare(c, line->id ? sql_put_example : sql_put_feature, &s, st) != 0 ||
        (line->id && connection_bind_text(c, s, ":id", line->id, st) != 0) ||
        connection_bind_text(c, s, ":model", line->model, st) != 0 ||
        connection_bind_text(c, s, ":source", line->source, st) != 0 ||
        connection_bind_integer(c, s, ":number", line->index, st) != 0 ||
        connection_bind_text(c, s, ":line", line->line, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

int store_put_imported(struct store *store, const struct store_imported *lines, size_t n,
                       struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    for (size_t i = 0; i < n && code == 0; i++) {
        code = put(&store->writer, &lines[i], st);
    }
    return store_write_end(store, code, st);
}

/* --- reading ---------------------------------------------------------------------------------- */

static const char sql_features[] = "SELECT NULL, model, source, number, line FROM imported_feature"
                                   " WHERE model = :model AND source = :source ORDER BY number";
static const char sql_feature[] = "SELECT NULL, model, source, number, line FROM imported_feature"
                                  " WHERE model = :model AND source = :source AND number = :number";
static const char sql_examples[] =
    "SELECT id, model, source, number, line FROM imported_example"
    " WHERE model = :model AND source = :source ORDER BY number, row";
static const char sql_examples_of_feature[] =
    "SELECT id, model, source, number, line FROM imported_example"
    " WHERE model = :model AND source = :source AND number = :number ORDER BY row";

static int list(struct connection *c, sqlite3_stmt *s,
                int (*visit)(void *user, const struct store_imported *line), void *user,
                struct status *st)
{
    for (;;) {
        bool row;
        if (connection_step(c, s, &row, st) != 0) {
            return (int)st->code;
        }
        if (!row) {
            return 0;
        }
        const struct store_imported line = {
            (const char *)sqlite3_column_text(s, 0), (const char *)sqlite3_column_text(s, 1),
            (const char *)sqlite3_column_text(s, 2), sqlite3_column_int64(s, 3),
            (const char *)sqlite3_column_text(s, 4)};
        int code = line.line ? visit(user, &line) : status_no_memory(st, 1);
        if (code != 0) {
            (void)sqlite3_reset(s);
            return code;
        }
    }
}

static int read_lines(struct store *store, const char *sql, const char *model, const char *source,
                      int64_t index, int (*visit)(void *user, const struct store_imported *line),
                      void *user, struct status *st)
{
    struct connection c;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    sqlite3_stmt *s;
    int code = 0;
    if (connection_prepare(&c, sql, &s, st) != 0 ||
        connection_bind_text(&c, s, ":model", model, st) != 0 ||
        connection_bind_text(&c, s, ":source", source, st) != 0 ||
        (index >= 0 && connection_bind_integer(&c, s, ":number", index, st) != 0)) {
        code = (int)st->code;
    } else {
        code = list(&c, s, visit, user, st);
    }
    store_read_end(store, &c);
    return code;
}

int store_imported_features(struct store *store, const char *model, const char *source,
                            int64_t index,
                            int (*visit)(void *user, const struct store_imported *line), void *user,
                            struct status *st)
{
    return read_lines(store, index < 0 ? sql_features : sql_feature, model, source, index, visit,
                      user, st);
}

int store_imported_examples(struct store *store, const char *model, const char *source,
                            int64_t index,
                            int (*visit)(void *user, const struct store_imported *line), void *user,
                            struct status *st)
{
    return read_lines(store, index < 0 ? sql_examples : sql_examples_of_feature, model, source,
                      index, visit, user, st);
}
