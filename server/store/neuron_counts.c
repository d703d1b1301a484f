#include "server/store/neuron_counts.h"

#include "core/base/memory.h"
#include "server/store/store_private.h"

struct neuron_counts_writer {
    struct store *store;
    int64_t source;
};

/* --- writing ---------------------------------------------------------------------------------- */

int neuron_counts_begin(struct store *store, int64_t source, struct neuron_counts_writer **writer,
                        struct status *st)
{
    struct neuron_counts_writer *w = memory_zalloc(1, sizeof *w);
    *writer = NULL;
    if (!w) {
        return status_no_memory(st, sizeof *w);
    }
    *w = (struct neuron_counts_writer){store, source};
    if (store_write_begin(store, st) != 0) {
        memory_free(w);
        return (int)st->code;
    }
    *writer = w;
    return 0;
}

static const char sql_put[] = "INSERT INTO neuron (source, number, statistic)"
                              " VALUES (:source, :number, :statistic)"
                              " ON CONFLICT DO UPDATE SET statistic = excluded.statistic";

int neuron_counts_put(struct neuron_counts_writer *writer, uint32_t number, const void *bytes,
                      size_t n, struct status *st)
{
    struct connection *c = &writer->store->writer;
    sqlite3_stmt *s;
    if (connection_prepare(c, sql_put, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", writer->source, st) != 0 ||
        connection_bind_integer(c, s, ":number", number, st) != 0 ||
        connection_bind_blob(c, s, ":statistic", bytes, n, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

static const char sql_mark[] =
    "INSERT INTO indexed (source, corpus, documents, tokens)"
    " VALUES (:source, :corpus, :documents, :tokens)"
    " ON CONFLICT DO UPDATE SET documents = excluded.documents, tokens = excluded.tokens";

int neuron_counts_end(struct neuron_counts_writer *writer, int64_t corpus, int64_t documents,
                      int64_t tokens, struct status *st)
{
    struct store *store = writer->store;
    struct connection *c = &store->writer;
    sqlite3_stmt *s;
    int code = 0;
    if (connection_prepare(c, sql_mark, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", writer->source, st) != 0 ||
        connection_bind_integer(c, s, ":corpus", corpus, st) != 0 ||
        connection_bind_integer(c, s, ":documents", documents, st) != 0 ||
        connection_bind_integer(c, s, ":tokens", tokens, st) != 0 ||
        connection_step_done(c, s, st) != 0) {
        code = (int)st->code;
    }
    memory_free(writer);
    return store_write_end(store, code, st);
}

void neuron_counts_abandon(struct neuron_counts_writer *writer)
{
    if (writer) {
        struct status st = {0};
        (void)store_write_end(writer->store, STATUS_CANCELLED, &st);
        memory_free(writer);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A query about the source, and what is done with each of its rows. */
struct query {
    const char *sql;
    int (*row)(void *user, sqlite3_stmt *s, struct status *st);
    void *user;
};

static int visit_rows(struct connection *c, int64_t source, const struct query *q,
                      struct status *st)
{
    sqlite3_stmt *s;
    if (connection_prepare(c, q->sql, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0) {
        return (int)st->code;
    }
    for (;;) {
        bool row;
        if (connection_step(c, s, &row, st) != 0) {
            return (int)st->code;
        }
        int code = row ? q->row(q->user, s, st) : 0;
        if (code != 0 || !row) {
            (void)sqlite3_reset(s);
            return code;
        }
    }
}

static int run_query(struct store *store, int64_t source, const struct query *q, struct status *st)
{
    struct connection c;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = visit_rows(&c, source, q, st);
    store_read_end(store, &c);
    return code;
}

struct neuron_visit {
    int (*visit)(void *user, uint32_t number, const void *bytes, size_t n, struct status *st);
    void *user;
};

static int take_neuron(void *user, sqlite3_stmt *s, struct status *st)
{
    const struct neuron_visit *v = user;
    return v->visit(v->user, (uint32_t)sqlite3_column_int64(s, 0), sqlite3_column_blob(s, 1),
                    (size_t)sqlite3_column_bytes(s, 1), st);
}

static const char sql_visit[] =
    "SELECT number, statistic FROM neuron WHERE source = :source ORDER BY number";

int neuron_counts_visit(struct store *store, int64_t source,
                        int (*visit)(void *user, uint32_t number, const void *bytes, size_t n,
                                     struct status *st),
                        void *user, struct status *st)
{
    struct neuron_visit v = {visit, user};
    return run_query(store, source, &(struct query){sql_visit, take_neuron, &v}, st);
}

struct document_visit {
    int (*visit)(void *user, const struct neuron_document *document, struct status *st);
    void *user;
};

static int take_document(void *user, sqlite3_stmt *s, struct status *st)
{
    const struct document_visit *v = user;
    const struct neuron_document d = {.corpus = sqlite3_column_int64(s, 0),
                                      .number = sqlite3_column_int64(s, 1),
                                      .text = sqlite3_column_int64(s, 2),
                                      .n_tokens = (size_t)sqlite3_column_int64(s, 3)};
    return v->visit(v->user, &d, st);
}

static const char sql_documents[] =
    "SELECT d.corpus, d.number, d.text, t.n_tokens FROM indexed i"
    " JOIN document d ON d.corpus = i.corpus AND d.number < i.documents"
    " JOIN text t ON t.id = d.text WHERE i.source = :source ORDER BY d.corpus, d.number";

int neuron_counts_documents(struct store *store, int64_t source,
                            int (*visit)(void *user, const struct neuron_document *document,
                                         struct status *st),
                            void *user, struct status *st)
{
    struct document_visit v = {visit, user};
    return run_query(store, source, &(struct query){sql_documents, take_document, &v}, st);
}

static int take_tokens(void *user, sqlite3_stmt *s, struct status *st)
{
    (void)st;
    *(int64_t *)user = sqlite3_column_int64(s, 0);
    return 0;
}

static const char sql_tokens[] =
    "SELECT coalesce(sum(tokens), 0) FROM indexed WHERE source = :source";

int neuron_counts_tokens(struct store *store, int64_t source, int64_t *tokens, struct status *st)
{
    *tokens = 0;
    return run_query(store, source, &(struct query){sql_tokens, take_tokens, tokens}, st);
}
