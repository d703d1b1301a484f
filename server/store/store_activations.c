/* The activation cache: read a prompt's rows, write many prompts' rows. */
#include "server/store/blob.h"
#include "server/store/store_private.h"

#include <stdint.h>
#include <string.h>

/* --- reading ------------------------------------------------------------------------------------
 */

/* The source's size comes along, so that no index beyond it gets out. */
static const char sql_find_text_for_source[] =
    "SELECT text.id, text.ids, source.d_sae FROM text, source"
    " WHERE text.model = :model AND text.hash = :hash"
    " AND source.id = :source AND source.model = text.model";

static const char sql_read_rows[] = "SELECT position, features FROM activation"
                                    " WHERE source = :source AND text = :text"
                                    " ORDER BY position";

/* Appends the row in column i of the statement. *sound is false if it is damaged; whether anything
 * was appended is then open, and the caller takes it back. */
static int decode_row(sqlite3_stmt *statement, int i, int64_t d_sae, struct sparse *rows,
                      bool *sound, struct status *st)
{
    const void *blob = sqlite3_column_blob(statement, i);
    size_t size = (size_t)sqlite3_column_bytes(statement, i);
    *sound = blob_decode(blob, size, rows);
    if (!*sound) {
        return rows->failed ? status_no_memory(st, size) : 0;
    }
    size_t end = rows->start[rows->rows];
    if (end > rows->start[rows->rows - 1]) {
        *sound = rows->index[end - 1] < d_sae;
    }
    return 0;
}

/* Appends the rows 0..n-1 and says whether all were there and sound. */
static int read_rows(struct connection *c, sqlite3_stmt *statement, size_t n, int64_t d_sae,
                     struct sparse *rows, bool *found, struct status *st)
{
    *found = true;
    for (size_t i = 0; i < n && *found; i++) {
        if (connection_step(c, statement, found, st) != 0) {
            return (int)st->code;
        }
        *found = *found && sqlite3_column_int64(statement, 0) == (int64_t)i;
        if (*found && decode_row(statement, 1, d_sae, rows, found, st) != 0) {
            return (int)st->code;
        }
    }
    return 0;
}

static int read_text(struct connection *c, int64_t model, int64_t source, const int32_t *ids,
                     size_t n, struct sparse *rows, bool *found, struct status *st)
{
    uint8_t hash[HASH_BYTES];
    store_text_hash(ids, n, hash);
    sqlite3_stmt *text;
    sqlite3_stmt *activations;
    if (connection_prepare(c, sql_find_text_for_source, &text, st) != 0 ||
        connection_bind_integer(c, text, ":model", model, st) != 0 ||
        connection_bind_integer(c, text, ":source", source, st) != 0 ||
        connection_bind_blob(c, text, ":hash", hash, sizeof hash, st) != 0 ||
        connection_step(c, text, found, st) != 0 || !*found) {
        return (int)st->code;
    }
    int code = 0;
    *found = connection_column_equals(text, 1, ids, n * sizeof *ids);
    if (*found) {
        /* The first statement stays open while the second runs, so both see one moment. */
        int64_t d_sae = sqlite3_column_int64(text, 2);
        if (connection_prepare(c, sql_read_rows, &activations, st) != 0 ||
            connection_bind_integer(c, activations, ":source", source, st) != 0 ||
            connection_bind_integer(c, activations, ":text", sqlite3_column_int64(text, 0), st) !=
                0) {
            code = (int)st->code;
        } else {
            code = read_rows(c, activations, n, d_sae, rows, found, st);
            (void)sqlite3_reset(activations);
        }
    }
    (void)sqlite3_reset(text);
    return code;
}

int store_read_activations(struct store *store, int64_t model, int64_t source, const int32_t *ids,
                           size_t n, struct sparse *rows, bool *found, struct status *st)
{
    struct connection c;
    *found = false;
    if (rows->failed) {
        return status_no_memory(st, 0);
    }
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    size_t before = rows->rows;
    status_clear(st);
    int code = read_text(&c, model, source, ids, n, rows, found, st);
    if (code != 0 || !*found) {
        *found = false;
        rows->rows = before;
        rows->failed = false;
    }
    store_read_end(store, &c);
    return code;
}

/* --- writing ---------------------------------------------------------------------------------- */

static const char sql_read_row[] =
    "SELECT features, d_sae FROM activation JOIN source ON source.id = activation.source"
    " WHERE activation.source = :source AND text = :text AND position = :position";

static const char sql_replace_row[] = "UPDATE activation SET features = :features"
                                      " WHERE source = :source AND text = :text"
                                      " AND position = :position";

/* A row that is there is kept, unless it is damaged: then it counts as absent for readers, and
 * would for ever if writers kept it. */
static int repair_row(struct connection *c, int64_t source, int64_t text, size_t position,
                      const struct text *blob, struct status *st)
{
    sqlite3_stmt *s;
    bool row;
    if (connection_prepare(c, sql_read_row, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0 ||
        connection_bind_integer(c, s, ":text", text, st) != 0 ||
        connection_bind_integer(c, s, ":position", (int64_t)position, st) != 0 ||
        connection_step(c, s, &row, st) != 0) {
        return (int)st->code;
    }
    bool sound = connection_column_equals(s, 0, blob->data, blob->length);
    struct sparse found = {0};
    int code = sound ? 0 : decode_row(s, 0, sqlite3_column_int64(s, 1), &found, &sound, st);
    sparse_free(&found);
    (void)sqlite3_reset(s);
    if (code != 0 || sound) {
        return code;
    }
    if (connection_prepare(c, sql_replace_row, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0 ||
        connection_bind_integer(c, s, ":text", text, st) != 0 ||
        connection_bind_integer(c, s, ":position", (int64_t)position, st) != 0 ||
        connection_bind_blob(c, s, ":features", blob->data, blob->length, st) != 0) {
        return (int)st->code;
    }
    return connection_step(c, s, &row, st);
}

static const char sql_add_row[] =
    "INSERT INTO activation (source, text, position, features)"
    " VALUES (:source, :text, :position, :features) ON CONFLICT DO NOTHING";

static int write_rows(struct store *store, int64_t text, const struct store_activations *e,
                      int64_t *added, struct status *st)
{
    struct connection *c = &store->writer;
    struct text *blob = &store->scratch;
    sqlite3_stmt *s;
    if (connection_prepare(c, sql_add_row, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", e->source, st) != 0 ||
        connection_bind_integer(c, s, ":text", text, st) != 0) {
        return (int)st->code;
    }
    const struct sparse *rows = e->rows;
    for (size_t i = 0; i < e->n; i++) {
        size_t start = rows->start[i];
        bool row;
        text_clear(blob);
        blob_encode(blob, rows->index + start, rows->value + start, rows->start[i + 1] - start);
        if (blob->failed) {
            return status_no_memory(st, rows->start[i + 1] - start);
        }
        if (connection_bind_integer(c, s, ":position", (int64_t)i, st) != 0 ||
            connection_bind_blob(c, s, ":features", blob->data, blob->length, st) != 0 ||
            connection_step(c, s, &row, st) != 0) {
            return (int)st->code;
        }
        if (sqlite3_changes(c->db) != 0) {
            (*added)++;
        } else if (repair_row(c, e->source, text, i, blob, st) != 0) {
            return (int)st->code;
        }
    }
    return 0;
}

static const char sql_count_rows[] =
    "UPDATE source SET activations = activations + :added WHERE id = :source";

static int write_entry(struct store *store, int64_t model, const struct store_activations *e,
                       struct status *st)
{
    struct connection *c = &store->writer;
    int64_t text = 0;
    int64_t added = 0;
    bool mine;
    if (store_text_row(c, model, e->ids, e->n, &text, &mine, st) != 0 ||
        (mine && write_rows(store, text, e, &added, st) != 0)) {
        return (int)st->code;
    }
    if (added == 0) {
        return 0;
    }
    sqlite3_stmt *s;
    bool row;
    if (connection_prepare(c, sql_count_rows, &s, st) != 0 ||
        connection_bind_integer(c, s, ":added", added, st) != 0 ||
        connection_bind_integer(c, s, ":source", e->source, st) != 0) {
        return (int)st->code;
    }
    return connection_step(c, s, &row, st);
}

int store_write_activations(struct store *store, int64_t model,
                            const struct store_activations *entries, size_t n_entries,
                            struct status *st)
{
    for (size_t i = 0; i < n_entries; i++) {
        if (entries[i].n == 0 || entries[i].rows->rows != entries[i].n) {
            return status_set(st, STATUS_INTERNAL,
                              "activations of text %zu: expected a row for each of its %zu tokens "
                              "(at least one), found %zu",
                              i, entries[i].n, entries[i].rows->rows);
        }
    }
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    for (size_t i = 0; i < n_entries && code == 0; i++) {
        code = write_entry(store, model, &entries[i], st);
    }
    return store_write_end(store, code, st);
}
