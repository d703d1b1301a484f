#include "server/store/evaluations.h"

#include "server/store/store_private.h"

static const char sql_write[] =
    "INSERT INTO evaluation (source, corpus, contexts, tokens, token_limit, finished, report, "
    "state,"
    " made_at) VALUES (:source, :corpus, :contexts, :tokens, :limit, :finished, :report, :state,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
    " ON CONFLICT (source, corpus) DO UPDATE SET contexts = excluded.contexts,"
    " tokens = excluded.tokens, token_limit = excluded.token_limit, finished = excluded.finished,"
    " report = excluded.report, state = excluded.state, made_at = excluded.made_at";

/* The pages of the state before become free first: a state has 170 MB for 2304 numbers, and the
 * database need not have room for two. */
static const char sql_clear[] =
    "UPDATE evaluation SET state = NULL WHERE source = :source AND corpus = :corpus";

static int clear_state(struct connection *c, const struct store_evaluation *e, struct status *st)
{
    sqlite3_stmt *s;
    int code = connection_prepare(c, sql_clear, &s, st);
    (void)(code || (code = connection_bind_integer(c, s, ":source", e->source, st)) ||
           (code = connection_bind_integer(c, s, ":corpus", e->corpus, st)) ||
           (code = connection_step_done(c, s, st)));
    return code;
}

static int write_row(struct connection *c, const struct store_evaluation *e, struct status *st)
{
    sqlite3_stmt *s;
    int code = clear_state(c, e, st);
    code = code ? code : connection_prepare(c, sql_write, &s, st);
    (void)(code || (code = connection_bind_integer(c, s, ":source", e->source, st)) ||
           (code = connection_bind_integer(c, s, ":corpus", e->corpus, st)) ||
           (code = connection_bind_integer(c, s, ":contexts", e->contexts, st)) ||
           (code = connection_bind_integer(c, s, ":tokens", e->tokens, st)) ||
           (code = connection_bind_integer(c, s, ":limit", e->token_limit, st)) ||
           (code = connection_bind_integer(c, s, ":finished", e->finished, st)) ||
           (code = connection_bind_text(c, s, ":report", e->report, st)) ||
           (code = e->state ? connection_bind_blob(c, s, ":state", e->state, e->state_bytes, st)
                            : STATUS_OK) ||
           (code = connection_step_done(c, s, st)));
    return code;
}

int store_evaluation_write(struct store *store, const struct store_evaluation *e, struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    return store_write_end(store, write_row(&store->writer, e, st), st);
}

static struct store_evaluation row_of(sqlite3_stmt *s)
{
    return (struct store_evaluation){.source = sqlite3_column_int64(s, 0),
                                     .corpus = sqlite3_column_int64(s, 1),
                                     .contexts = sqlite3_column_int64(s, 2),
                                     .tokens = sqlite3_column_int64(s, 3),
                                     .token_limit = sqlite3_column_int64(s, 4),
                                     .finished = sqlite3_column_int64(s, 5) != 0,
                                     .report = (const char *)sqlite3_column_text(s, 6),
                                     .made_at = (const char *)sqlite3_column_text(s, 7),
                                     .state = sqlite3_column_blob(s, 8),
                                     .state_bytes = (size_t)sqlite3_column_bytes(s, 8)};
}

static const char sql_one[] =
    "SELECT source, corpus, contexts, tokens, token_limit, finished, report, made_at, state"
    " FROM evaluation WHERE source = :source AND corpus = :corpus";

static const char sql_all[] =
    "SELECT source, corpus, contexts, tokens, token_limit, finished, report, made_at, NULL"
    " FROM evaluation WHERE source = :source ORDER BY made_at DESC, corpus DESC";

/* corpus below 0: all of them. */
static int visit_rows(struct connection *c, int64_t source, int64_t corpus,
                      int (*visit)(void *user, const struct store_evaluation *evaluation),
                      void *user, struct status *st)
{
    sqlite3_stmt *s;
    bool row = true;
    if (connection_prepare(c, corpus < 0 ? sql_all : sql_one, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0 ||
        (corpus >= 0 && connection_bind_integer(c, s, ":corpus", corpus, st) != 0)) {
        return (int)st->code;
    }
    while (row) {
        if (connection_step(c, s, &row, st) != 0) {
            return (int)st->code;
        }
        if (row) {
            const struct store_evaluation e = row_of(s);
            int code = visit(user, &e);
            if (code != 0) {
                (void)sqlite3_reset(s);
                return code;
            }
        }
    }
    return 0;
}

static int read_rows(struct store *store, int64_t source, int64_t corpus,
                     int (*visit)(void *user, const struct store_evaluation *evaluation),
                     void *user, struct status *st)
{
    struct connection c;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = visit_rows(&c, source, corpus, visit, user, st);
    store_read_end(store, &c);
    return code;
}

int store_evaluation(struct store *store, int64_t source, int64_t corpus,
                     int (*visit)(void *user, const struct store_evaluation *evaluation),
                     void *user, struct status *st)
{
    return read_rows(store, source, corpus, visit, user, st);
}

int store_evaluations(struct store *store, int64_t source,
                      int (*visit)(void *user, const struct store_evaluation *evaluation),
                      void *user, struct status *st)
{
    return read_rows(store, source, -1, visit, user, st);
}
