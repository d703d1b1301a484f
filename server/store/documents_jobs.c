/* Jobs: what was asked for, and how far it came. */
#include "server/store/documents.h"
#include "server/store/store_private.h"

#define NOW "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"

static const char sql_start[] =
    "INSERT INTO job (kind, state, request, progress, error, started_at, changed_at)"
    " VALUES (:kind, 'running', :request, '{}', '', " NOW ", " NOW ") RETURNING id";

int store_job_start(struct store *store, const char *kind, const char *request, int64_t *job,
                    struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    struct connection *c = &store->writer;
    sqlite3_stmt *s;
    bool row;
    int code = 0;
    if (connection_prepare(c, sql_start, &s, st) != 0 ||
        connection_bind_text(c, s, ":kind", kind, st) != 0 ||
        connection_bind_text(c, s, ":request", request, st) != 0 ||
        connection_step_integer(c, s, &row, job, st) != 0) {
        code = (int)st->code;
    }
    return store_write_end(store, code, st);
}

static const char sql_update[] =
    "UPDATE job SET state = :state, progress = coalesce(:progress, progress),"
    " error = coalesce(:error, ''), changed_at = " NOW " WHERE id = :job";

int store_job_update(struct store *store, int64_t job, const char *state, const char *progress,
                     const char *error, struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    struct connection *c = &store->writer;
    sqlite3_stmt *s;
    int code = 0;
    if (connection_prepare(c, sql_update, &s, st) != 0 ||
        connection_bind_integer(c, s, ":job", job, st) != 0 ||
        connection_bind_text(c, s, ":state", state, st) != 0 ||
        connection_bind_text(c, s, ":progress", progress, st) != 0 ||
        connection_bind_text(c, s, ":error", error, st) != 0 ||
        connection_step_done(c, s, st) != 0) {
        code = (int)st->code;
    } else if (sqlite3_changes(c->db) == 0) {
        code = status_set(st, STATUS_NOT_FOUND, "there is no job %lld", (long long)job);
    }
    return store_write_end(store, code, st);
}

int store_jobs_recover(struct store *store, struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    int code = connection_run(
        &store->writer,
        "UPDATE job SET state = 'interrupted', changed_at = " NOW " WHERE state = 'running'", st);
    return store_write_end(store, code, st);
}

static const char sql_list[] =
    "SELECT id, kind, state, request, progress, error, started_at, changed_at FROM job"
    " ORDER BY id DESC LIMIT :limit";

static const char *column(sqlite3_stmt *s, int i)
{
    const unsigned char *found = sqlite3_column_text(s, i);
    return found ? (const char *)found : "";
}

static int list(struct connection *c, size_t limit,
                int (*visit)(void *user, const struct store_job *job), void *user,
                struct status *st)
{
    sqlite3_stmt *s;
    if (connection_prepare(c, sql_list, &s, st) != 0 ||
        connection_bind_integer(c, s, ":limit", (int64_t)limit, st) != 0) {
        return (int)st->code;
    }
    for (;;) {
        bool row;
        if (connection_step(c, s, &row, st) != 0) {
            return (int)st->code;
        }
        if (!row) {
            return 0;
        }
        const struct store_job job = {sqlite3_column_int64(s, 0),
                                      column(s, 1),
                                      column(s, 2),
                                      column(s, 3),
                                      column(s, 4),
                                      column(s, 5),
                                      column(s, 6),
                                      column(s, 7)};
        int code = visit(user, &job);
        if (code != 0) {
            (void)sqlite3_reset(s);
            return code;
        }
    }
}

int store_jobs(struct store *store, size_t limit,
               int (*visit)(void *user, const struct store_job *job), void *user, struct status *st)
{
    struct connection c;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = list(&c, limit, visit, user, st);
    store_read_end(store, &c);
    return code;
}
