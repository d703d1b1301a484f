/* Corpora: their documents, and how far each source was run over them. */
#include "server/store/documents.h"

#include "server/store/store_private.h"

#include <inttypes.h>
#include <stdio.h>

static const char sql_find_corpus[] = "SELECT id FROM corpus WHERE model = :model AND name = :name"
                                      " AND settings = :settings";
static const char sql_add_corpus[] = "INSERT INTO corpus (model, name, settings)"
                                     " VALUES (:model, :name, :settings) RETURNING id";

int store_corpus(struct store *store, int64_t model, const char *name, const char *settings,
                 int64_t *corpus, struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    struct connection *c = &store->writer;
    const char *const steps[] = {sql_find_corpus, sql_add_corpus};
    bool found = false;
    int code = 0;
    for (int i = 0; i < 2 && code == 0 && !found; i++) {
        sqlite3_stmt *s;
        if (connection_prepare(c, steps[i], &s, st) != 0 ||
            connection_bind_integer(c, s, ":model", model, st) != 0 ||
            connection_bind_text(c, s, ":name", name, st) != 0 ||
            connection_bind_text(c, s, ":settings", settings, st) != 0 ||
            connection_step_integer(c, s, &found, corpus, st) != 0) {
            code = (int)st->code;
        }
    }
    return store_write_end(store, code, st);
}

/* --- documents ----------------------------------------------------------------------------------
 */

static const char sql_corpus_name[] = "SELECT name FROM corpus WHERE id = :corpus";

static int corpus_has_changed(struct connection *c, int64_t corpus, int64_t number, int64_t line,
                              struct status *st)
{
    sqlite3_stmt *s;
    bool row;
    if (connection_prepare(c, sql_corpus_name, &s, st) != 0 ||
        connection_bind_integer(c, s, ":corpus", corpus, st) != 0 ||
        connection_step(c, s, &row, st) != 0) {
        return (int)st->code;
    }
    int code = status_set(st, STATUS_INVALID,
                          "the corpus \"%.200s\" has changed: document %" PRId64 " (line %" PRId64
                          ") was another text when it was indexed; index it as "
                          "it was, or under another name (--name)",
                          row ? (const char *)sqlite3_column_text(s, 0) : "", number, line);
    (void)sqlite3_reset(s);
    return code;
}

static const char sql_find_document[] =
    "SELECT text FROM document WHERE corpus = :corpus AND number = :number";
static const char sql_add_document[] = "INSERT INTO document (corpus, number, text, line)"
                                       " VALUES (:corpus, :number, :text, :line)";

static int write_document(struct connection *c, int64_t model, int64_t corpus, int64_t number,
                          const struct store_document *d, struct status *st)
{
    int64_t text = 0;
    int64_t there = 0;
    bool mine;
    bool found;
    sqlite3_stmt *s;
    if (store_text_row(c, model, d->ids, d->n, &text, &mine, st) != 0) {
        return (int)st->code;
    }
    if (!mine) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "document %" PRId64 " (line %" PRId64 ") has the same hash as another "
                          "text and cannot be kept: leave that line out",
                          number, d->line);
    }
    if (connection_prepare(c, sql_find_document, &s, st) != 0 ||
        connection_bind_integer(c, s, ":corpus", corpus, st) != 0 ||
        connection_bind_integer(c, s, ":number", number, st) != 0 ||
        connection_step_integer(c, s, &found, &there, st) != 0) {
        return (int)st->code;
    }
    if (found) {
        return there == text ? 0 : corpus_has_changed(c, corpus, number, d->line, st);
    }
    if (connection_prepare(c, sql_add_document, &s, st) != 0 ||
        connection_bind_integer(c, s, ":corpus", corpus, st) != 0 ||
        connection_bind_integer(c, s, ":number", number, st) != 0 ||
        connection_bind_integer(c, s, ":text", text, st) != 0 ||
        connection_bind_integer(c, s, ":line", d->line, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

static const char sql_count_documents[] =
    "SELECT coalesce(max(number) + 1, 0) FROM document WHERE corpus = :corpus";

/* Without gaps: the first document must be there already, or the next one. */
static int check_first(struct connection *c, int64_t corpus, int64_t first, struct status *st)
{
    sqlite3_stmt *s;
    bool row;
    int64_t there = 0;
    if (connection_prepare(c, sql_count_documents, &s, st) != 0 ||
        connection_bind_integer(c, s, ":corpus", corpus, st) != 0 ||
        connection_step_integer(c, s, &row, &there, st) != 0) {
        return (int)st->code;
    }
    if (first < 0 || first > there) {
        return status_set(st, STATUS_INTERNAL,
                          "documents are written from number %" PRId64 ", but the corpus has "
                          "%" PRId64,
                          first, there);
    }
    return 0;
}

/* --- marks --------------------------------------------------------------------------------------
 */

static const char sql_read_mark[] =
    "SELECT documents, tokens FROM indexed WHERE source = :source AND corpus = :corpus";

static int read_mark(struct connection *c, int64_t source, int64_t corpus, int64_t *documents,
                     int64_t *tokens, struct status *st)
{
    sqlite3_stmt *s;
    bool row;
    if (connection_prepare(c, sql_read_mark, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0 ||
        connection_bind_integer(c, s, ":corpus", corpus, st) != 0 ||
        connection_step(c, s, &row, st) != 0) {
        return (int)st->code;
    }
    *documents = row ? sqlite3_column_int64(s, 0) : 0;
    *tokens = row ? sqlite3_column_int64(s, 1) : 0;
    (void)sqlite3_reset(s);
    return 0;
}

static const char sql_move_mark[] =
    "INSERT INTO indexed (source, corpus, documents, tokens)"
    " VALUES (:source, :corpus, :documents, :tokens)"
    " ON CONFLICT DO UPDATE SET documents = excluded.documents, tokens = excluded.tokens";

static int move_mark(struct connection *c, int64_t source, int64_t corpus, int64_t first, int64_t n,
                     int64_t tokens, struct status *st)
{
    int64_t documents = 0;
    int64_t counted = 0;
    if (read_mark(c, source, corpus, &documents, &counted, st) != 0) {
        return (int)st->code;
    }
    if (documents >= first + n) {
        return 0;
    }
    /* The tokens of a part of the batch are not known here. */
    if (documents != first) {
        return status_set(st, STATUS_INTERNAL,
                          "source %" PRId64 " was run over %" PRId64 " documents; a batch that "
                          "starts at %" PRId64 " does not continue there",
                          source, documents, first);
    }
    sqlite3_stmt *s;
    if (connection_prepare(c, sql_move_mark, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0 ||
        connection_bind_integer(c, s, ":corpus", corpus, st) != 0 ||
        connection_bind_integer(c, s, ":documents", first + n, st) != 0 ||
        connection_bind_integer(c, s, ":tokens", counted + tokens, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

int store_write_documents(struct store *store, int64_t model, int64_t corpus, int64_t first,
                          const struct store_document *documents, size_t n, const int64_t *sources,
                          size_t n_sources, int64_t tokens, struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    struct connection *c = &store->writer;
    int code = check_first(c, corpus, first, st);
    for (size_t i = 0; i < n && code == 0; i++) {
        code = write_document(c, model, corpus, first + (int64_t)i, &documents[i], st);
    }
    for (size_t i = 0; i < n_sources && code == 0; i++) {
        code = move_mark(c, sources[i], corpus, first, (int64_t)n, tokens, st);
    }
    return store_write_end(store, code, st);
}

int store_indexed(struct store *store, int64_t source, int64_t corpus, int64_t *documents,
                  int64_t *tokens, struct status *st)
{
    struct connection c;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = read_mark(&c, source, corpus, documents, tokens, st);
    store_read_end(store, &c);
    return code;
}
