/* Explanations: added, replaced, deleted, listed. */
#include "server/store/explanations.h"

#include "server/store/store_private.h"

/* Where a row came from does not change when it is edited or comes back with an import. */
static const char sql_put[] =
    "INSERT INTO explanation (id, model, source, number, description, author, type_name, explainer,"
    " notes, origin, created_at, other) VALUES (:id, :model, :source, :number, :description,"
    " :author, :type_name, :explainer, :notes, :origin, :created_at, :other)"
    " ON CONFLICT (id) DO UPDATE SET model = excluded.model, source = excluded.source,"
    " number = excluded.number, description = excluded.description, author = excluded.author,"
    " type_name = excluded.type_name, explainer = excluded.explainer, notes = excluded.notes,"
    " created_at = excluded.created_at, other = excluded.other RETURNING row";

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* --- the full-text index ---------------------------------------------------------------------- */

static const char sql_index_stem[] =
    "INSERT INTO explanation_stem (rowid, description) VALUES (:row, :description)";
static const char sql_index_word[] =
    "INSERT INTO explanation_word (rowid, description) VALUES (:row, :description)";

static int index_description(struct connection *c, int64_t row, const char *description,
                             struct status *st)
{
    const char *const steps[] = {sql_index_stem, sql_index_word};
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *s;
        if (connection_prepare(c, steps[i], &s, st) != 0 ||
            connection_bind_integer(c, s, ":row", row, st) != 0 ||
            connection_bind_text(c, s, ":description", description, st) != 0 ||
            connection_step_done(c, s, st) != 0) {
            return (int)st->code;
        }
    }
    return 0;
}

/* FTS5 wants to be told what stood there; the table still has it. */
static const char sql_forget_stem[] =
    "INSERT INTO explanation_stem (explanation_stem, rowid, description)"
    " SELECT 'delete', row, description FROM explanation WHERE row = :row";
static const char sql_forget_word[] =
    "INSERT INTO explanation_word (explanation_word, rowid, description)"
    " SELECT 'delete', row, description FROM explanation WHERE row = :row";

static int forget_description(struct connection *c, int64_t row, struct status *st)
{
    const char *const steps[] = {sql_forget_stem, sql_forget_word};
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *s;
        if (connection_prepare(c, steps[i], &s, st) != 0 ||
            connection_bind_integer(c, s, ":row", row, st) != 0 ||
            connection_step_done(c, s, st) != 0) {
            return (int)st->code;
        }
    }
    return 0;
}

static const char sql_find[] =
    "SELECT row, description = :description FROM explanation WHERE id = :id";

/* Whether there is such a row, and whether its description is the given one. */
static int find(struct connection *c, const char *id, const char *description, bool *found,
                int64_t *at, bool *same, struct status *st)
{
    sqlite3_stmt *s;
    if (connection_prepare(c, sql_find, &s, st) != 0 ||
        connection_bind_text(c, s, ":id", id, st) != 0 ||
        connection_bind_text(c, s, ":description", description, st) != 0 ||
        connection_step(c, s, found, st) != 0) {
        return (int)st->code;
    }
    *same = false;
    if (*found) {
        *at = sqlite3_column_int64(s, 0);
        *same = sqlite3_column_int(s, 1) != 0;
        (void)sqlite3_reset(s);
    }
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static int put_row(struct connection *c, const struct store_explanation *e, int64_t *at,
                   struct status *st)
{
    sqlite3_stmt *s;
    bool row;
    if (connection_prepare(c, sql_put, &s, st) != 0 ||
        connection_bind_text(c, s, ":id", e->id, st) != 0 ||
        connection_bind_text(c, s, ":model", e->model, st) != 0 ||
        connection_bind_text(c, s, ":source", e->source, st) != 0 ||
        connection_bind_integer(c, s, ":number", e->index, st) != 0 ||
        connection_bind_text(c, s, ":description", or_empty(e->description), st) != 0 ||
        connection_bind_text(c, s, ":author", or_empty(e->author), st) != 0 ||
        connection_bind_text(c, s, ":type_name", or_empty(e->type_name), st) != 0 ||
        connection_bind_text(c, s, ":explainer", or_empty(e->explainer), st) != 0 ||
        connection_bind_text(c, s, ":notes", or_empty(e->notes), st) != 0 ||
        connection_bind_text(c, s, ":origin", or_empty(e->origin), st) != 0 ||
        connection_bind_text(c, s, ":created_at", or_empty(e->created_at), st) != 0 ||
        connection_bind_text(c, s, ":other", or_empty(e->other), st) != 0) {
        return (int)st->code;
    }
    return connection_step_integer(c, s, &row, at, st);
}

static int put(struct connection *c, const struct store_explanation *e, struct status *st)
{
    const char *description = or_empty(e->description);
    bool found = false;
    bool same = false;
    int64_t at = 0;
    if (find(c, e->id, description, &found, &at, &same, st) != 0 ||
        (found && !same && forget_description(c, at, st) != 0) || put_row(c, e, &at, st) != 0) {
        return (int)st->code;
    }
    return same ? 0 : index_description(c, at, description, st);
}

int store_put_explanations(struct store *store, const struct store_explanation *e, size_t n,
                           struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    for (size_t i = 0; i < n && code == 0; i++) {
        code = put(&store->writer, &e[i], st);
    }
    return store_write_end(store, code, st);
}

static const char sql_delete[] = "DELETE FROM explanation WHERE row = :row";

static int delete_row(struct connection *c, int64_t at, struct status *st)
{
    sqlite3_stmt *s;
    if (forget_description(c, at, st) != 0 || connection_prepare(c, sql_delete, &s, st) != 0 ||
        connection_bind_integer(c, s, ":row", at, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

int store_delete_explanation(struct store *store, const char *id, bool *found, struct status *st)
{
    struct connection *c = &store->writer;
    bool same = false;
    int64_t at = 0;
    *found = false;
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    int code = find(c, id, "", found, &at, &same, st);
    if (code == 0 && *found) {
        code = delete_row(c, at, st);
    }
    return store_write_end(store, code, st);
}

/* --- listing ---------------------------------------------------------------------------------- */

#define COLUMNS                                                                                   \
    "SELECT id, model, source, number, description, author, type_name, explainer, notes, origin," \
    " created_at, other FROM explanation WHERE "

/* Three statements, so that each is one range of the index. */
static const char sql_of_model[] = COLUMNS "model = :model ORDER BY source, number, row";
static const char sql_of_source[] =
    COLUMNS "model = :model AND source = :source ORDER BY number, row";
static const char sql_of_feature[] =
    COLUMNS "model = :model AND source = :source AND number = :number ORDER BY row";

static const char *column(sqlite3_stmt *s, int i)
{
    return or_empty((const char *)sqlite3_column_text(s, i));
}

static int list(struct connection *c, sqlite3_stmt *s,
                int (*visit)(void *user, const struct store_explanation *e), void *user,
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
        const struct store_explanation e = {.id = column(s, 0),
                                            .model = column(s, 1),
                                            .source = column(s, 2),
                                            .index = sqlite3_column_int64(s, 3),
                                            .description = column(s, 4),
                                            .author = column(s, 5),
                                            .type_name = column(s, 6),
                                            .explainer = column(s, 7),
                                            .notes = column(s, 8),
                                            .origin = column(s, 9),
                                            .created_at = column(s, 10),
                                            .other = column(s, 11)};
        int code = visit(user, &e);
        if (code != 0) {
            (void)sqlite3_reset(s);
            return code;
        }
    }
}

int store_explanations(struct store *store, const char *model, const char *source, int64_t index,
                       int (*visit)(void *user, const struct store_explanation *e), void *user,
                       struct status *st)
{
    struct connection c;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    const char *sql = !source ? sql_of_model : index < 0 ? sql_of_source : sql_of_feature;
    sqlite3_stmt *s;
    int code = 0;
    if (connection_prepare(&c, sql, &s, st) != 0 ||
        connection_bind_text(&c, s, ":model", model, st) != 0 ||
        (source && connection_bind_text(&c, s, ":source", source, st) != 0) ||
        (source && index >= 0 && connection_bind_integer(&c, s, ":number", index, st) != 0)) {
        code = (int)st->code;
    } else {
        code = list(&c, s, visit, user, st);
    }
    store_read_end(store, &c);
    return code;
}
