#include "server/store/connection.h"

#include "core/base/memory.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Why the file could not be opened. SQLite tries a second time, for reading alone, and reports that
 * attempt's errno, so the folder is asked first. */
static int why_not_open(const char *path, int why)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? memory_string_n(path, (size_t)(slash - path) + 1) : memory_string("./");
    if (folder && access(folder, W_OK) != 0) {
        why = errno;
    }
    memory_free(folder);
    return why;
}

int connection_error(struct connection *c, int result, struct status *st)
{
    int primary = result & 0xFF;
    int why = c->db ? sqlite3_system_errno(c->db) : 0;
    why = primary == SQLITE_CANTOPEN ? why_not_open(c->path, why) : why;
    char text[128];
    const char *reason = why ? strerror_r(why, text, sizeof text) : sqlite3_errstr(result);
    if (primary == SQLITE_FULL || (primary == SQLITE_IOERR && (why == ENOSPC || why == EDQUOT))) {
        return status_set(st, STATUS_IO,
                          "%s: the disk is full: free some space there or move the database to a "
                          "larger disk (--db); what was kept before is intact",
                          c->path);
    }
    switch (primary) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return status_set(st, STATUS_BUSY,
                          "%s: another process has held the database's lock for over %g s: wait "
                          "until it is done, or use another --db",
                          c->path, c->busy_ms / 1000.0);
    case SQLITE_NOTADB:
        return status_set(st, STATUS_CORRUPT,
                          "%s: expected an SQLite database, found another kind of file: name "
                          "another file with --db",
                          c->path);
    case SQLITE_CORRUPT:
        return status_set(st, STATUS_CORRUPT,
                          "%s: the database is damaged (%s): restore a copy, save what can be "
                          "read with `sqlite3 FILE .recover`, or use another --db",
                          c->path, sqlite3_errmsg(c->db));
    case SQLITE_CANTOPEN:
        return status_set(st, why == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                          "%s: the database cannot be opened (%s): its folder must exist and be "
                          "writable, for the -wal and -shm files beside it too",
                          c->path, reason);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return status_set(st, STATUS_IO,
                          "%s: the database cannot be written: make the file and its folder "
                          "writable for this user, or use another --db",
                          c->path);
    case SQLITE_IOERR:
        return status_set(st, STATUS_IO, "%s: reading or writing the database failed (%s)", c->path,
                          reason);
    case SQLITE_NOMEM:
        return status_set(st, STATUS_MEMORY, "%s: out of memory in SQLite", c->path);
    default:
        return status_set(st, STATUS_INTERNAL, "%s: SQLite says: %s", c->path,
                          c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(result));
    }
}

/* Tries again every millisecond: SQLite's own handler soon sleeps 100 ms between its tries, and
 * would miss the short gaps that long pieces of writing leave. `tried` counts from 0. */
static int on_busy(void *busy_ms, int tried)
{
    if (tried >= (int)(intptr_t)busy_ms) {
        return 0;
    }
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return 1;
}

int connection_open(struct connection *c, const char *path, bool writable, int busy_ms,
                    struct status *st)
{
    *c = (struct connection){.path = path, .busy_ms = busy_ms};
    /* NOMUTEX: a connection has one user at a time, so SQLite's own locks would be paid twice. */
    int flags = SQLITE_OPEN_NOMUTEX |
                (writable ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
    int result = sqlite3_open_v2(path, &c->db, flags, NULL);
    if (result == SQLITE_OK) {
        result = sqlite3_busy_handler(c->db, on_busy, (void *)(intptr_t)busy_ms);
    }
    /* SQLite falls back to reading alone where it may not write. */
    if (result == SQLITE_OK && writable && sqlite3_db_readonly(c->db, "main") == 1) {
        result = SQLITE_READONLY;
    }
    if (result != SQLITE_OK) {
        (void)connection_error(c, result, st);
        connection_close(c);
        return (int)st->code;
    }
    (void)sqlite3_extended_result_codes(c->db, 1);
    return 0;
}

void connection_close(struct connection *c)
{
    for (size_t i = 0; i < c->n_statements; i++) {
        (void)sqlite3_finalize(c->statements[i].statement);
    }
    memory_free(c->statements);
    (void)sqlite3_close(c->db);
    *c = (struct connection){0};
}

/* The schema of a damaged or planted file gets no say in what runs, and cells are checked before
 * they are used. No mmap: an unreadable page must be an error, not a SIGBUS. */
#define COMMON_SETTINGS          \
    "PRAGMA trusted_schema=OFF;" \
    "PRAGMA cell_size_check=ON;" \
    "PRAGMA mmap_size=0;"

int connection_set_reader(struct connection *c, struct status *st)
{
    return connection_run(c, COMMON_SETTINGS "PRAGMA query_only=ON; PRAGMA cache_size=-4096;", st);
}

/* In WAL mode with synchronous=NORMAL a committed transaction is in the kernel's hands: a killed
 * process loses nothing. A power cut may lose the last transactions, never the order of them, and
 * what is lost is computed again. FULL would add an fsync to every request. */
int connection_set_writer(struct connection *c, struct status *st)
{
    /* Pages of 8 KiB: rows of up to 340 features lie in the tree itself, without overflow pages. */
    static const char wal[] = "PRAGMA page_size=8192; PRAGMA journal_mode=WAL";
    /* SQLite does not wait by itself when two processes make the same new file at once. */
    int result = SQLITE_BUSY;
    for (int waited = 0; waited <= c->busy_ms && (result & 0xFF) == SQLITE_BUSY; waited += 10) {
        result = sqlite3_exec(c->db, wal, NULL, NULL, NULL);
        if ((result & 0xFF) == SQLITE_BUSY) {
            (void)sqlite3_sleep(10);
        }
    }
    if (result != SQLITE_OK) {
        return connection_error(c, result, st);
    }
    return connection_run(c,
                          COMMON_SETTINGS "PRAGMA synchronous=NORMAL;"
                                          "PRAGMA foreign_keys=ON;"
                                          "PRAGMA cache_size=-32768;"
                                          "PRAGMA journal_size_limit=67108864;",
                          st);
}

int connection_run(struct connection *c, const char *sql, struct status *st)
{
    int result = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : connection_error(c, result, st);
}

int connection_integer(struct connection *c, const char *sql, int64_t *value, struct status *st)
{
    sqlite3_stmt *statement;
    bool row;
    if (connection_prepare(c, sql, &statement, st) != 0 ||
        connection_step(c, statement, &row, st) != 0) {
        return (int)st->code;
    }
    *value = row ? sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_reset(statement);
    return 0;
}

int connection_prepare(struct connection *c, const char *sql, sqlite3_stmt **statement,
                       struct status *st)
{
    *statement = NULL;
    for (size_t i = 0; i < c->n_statements; i++) {
        if (c->statements[i].sql == sql) {
            *statement = c->statements[i].statement;
            (void)sqlite3_reset(*statement);
            (void)sqlite3_clear_bindings(*statement);
            return 0;
        }
    }
    if (c->n_statements == c->capacity) {
        size_t more = c->capacity + 16;
        struct connection_statement *grown =
            memory_resize(c->statements, more, sizeof *c->statements);
        if (!grown) {
            return status_no_memory(st, more * sizeof *c->statements);
        }
        c->statements = grown;
        c->capacity = more;
    }
    int result = sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
    if (result != SQLITE_OK) {
        return connection_error(c, result, st);
    }
    c->statements[c->n_statements++] = (struct connection_statement){sql, *statement};
    return 0;
}

int connection_bind_integer(struct connection *c, sqlite3_stmt *statement, const char *name,
                            int64_t value, struct status *st)
{
    int at = sqlite3_bind_parameter_index(statement, name);
    int result = sqlite3_bind_int64(statement, at, value);
    return result == SQLITE_OK ? 0 : connection_error(c, result, st);
}

int connection_bind_text(struct connection *c, sqlite3_stmt *statement, const char *name,
                         const char *value, struct status *st)
{
    int at = sqlite3_bind_parameter_index(statement, name);
    int result = sqlite3_bind_text(statement, at, value, -1, SQLITE_STATIC);
    return result == SQLITE_OK ? 0 : connection_error(c, result, st);
}

int connection_bind_real(struct connection *c, sqlite3_stmt *statement, const char *name,
                         double value, struct status *st)
{
    int at = sqlite3_bind_parameter_index(statement, name);
    int result = sqlite3_bind_double(statement, at, value);
    return result == SQLITE_OK ? 0 : connection_error(c, result, st);
}

int connection_bind_blob(struct connection *c, sqlite3_stmt *statement, const char *name,
                         const void *bytes, size_t n, struct status *st)
{
    int at = sqlite3_bind_parameter_index(statement, name);
    int result = sqlite3_bind_blob64(statement, at, bytes, n, SQLITE_STATIC);
    return result == SQLITE_OK ? 0 : connection_error(c, result, st);
}

int connection_step(struct connection *c, sqlite3_stmt *statement, bool *row, struct status *st)
{
    int result = sqlite3_step(statement);
    *row = result == SQLITE_ROW;
    if (result == SQLITE_ROW) {
        return 0;
    }
    if (result != SQLITE_DONE) {
        (void)connection_error(c, result, st);
        (void)sqlite3_reset(statement);
        return (int)st->code;
    }
    (void)sqlite3_reset(statement);
    return 0;
}

int connection_step_integer(struct connection *c, sqlite3_stmt *statement, bool *row,
                            int64_t *value, struct status *st)
{
    if (connection_step(c, statement, row, st) != 0) {
        return (int)st->code;
    }
    if (*row) {
        *value = sqlite3_column_int64(statement, 0);
        (void)sqlite3_reset(statement);
    }
    return 0;
}

int connection_step_done(struct connection *c, sqlite3_stmt *statement, struct status *st)
{
    bool row;
    return connection_step(c, statement, &row, st);
}

bool connection_column_equals(sqlite3_stmt *statement, int i, const void *bytes, size_t n)
{
    const void *found = sqlite3_column_blob(statement, i);
    return (size_t)sqlite3_column_bytes(statement, i) == n &&
           (n == 0 || (found && memcmp(found, bytes, n) == 0));
}

void connection_rollback(struct connection *c)
{
    /* A failing statement may have ended the transaction itself. */
    if (c->db && !sqlite3_get_autocommit(c->db)) {
        (void)sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    }
}
