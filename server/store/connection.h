/* One SQLite connection: its settings, its prepared statements, and SQLite's result codes turned
 * into sentences. Used by one thread at a time. Private to server/store. */
#ifndef DM_STORE_CONNECTION_H
#define DM_STORE_CONNECTION_H

#include "core/base/status.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection {
    sqlite3 *db;
    const char *path; /* borrowed; for messages */
    int busy_ms;      /* how long to wait for another process's lock */
    struct connection_statement {
        const char *sql;
        sqlite3_stmt *statement;
    } * statements;
    size_t n_statements, capacity;
};

/* Opens the file (created when it is writable and missing); changes nothing in it. */
int connection_open(struct connection *c, const char *path, bool writable, int busy_ms,
                    struct status *st);
void connection_close(struct connection *c); /* safe on a zeroed struct */

/* The settings of a reading connection and of the writing one. The writer's puts the file in WAL
 * mode, so whose file it is must be known before. */
int connection_set_reader(struct connection *c, struct status *st);
int connection_set_writer(struct connection *c, struct status *st);

/* Runs statements that answer nothing. */
int connection_run(struct connection *c, const char *sql, struct status *st);

/* The first column of the only row of a query. */
int connection_integer(struct connection *c, const char *sql, int64_t *value, struct status *st);

/* The prepared form of sql, ready to be bound; kept with the connection under the address of sql,
 * which must therefore be a constant. */
int connection_prepare(struct connection *c, const char *sql, sqlite3_stmt **statement,
                       struct status *st);
int connection_bind_integer(struct connection *c, sqlite3_stmt *statement, const char *name,
                            int64_t value, struct status *st);
int connection_bind_text(struct connection *c, sqlite3_stmt *statement, const char *name,
                         const char *value, struct status *st);
int connection_bind_real(struct connection *c, sqlite3_stmt *statement, const char *name,
                         double value, struct status *st);
/* Not copied: bytes must stay until the statement is reset. */
int connection_bind_blob(struct connection *c, sqlite3_stmt *statement, const char *name,
                         const void *bytes, size_t n, struct status *st);

/* *row says whether there is a (further) row. The statement is reset on failure, and when the rows
 * are at an end. */
int connection_step(struct connection *c, sqlite3_stmt *statement, bool *row, struct status *st);

/* Runs a bound statement to its first row, if it has one: *row, and then *value is its first column
 * (NULL: 0). The statement is reset. */
int connection_step_integer(struct connection *c, sqlite3_stmt *statement, bool *row,
                            int64_t *value, struct status *st);

/* Runs a bound statement that answers nothing to its end. */
int connection_step_done(struct connection *c, sqlite3_stmt *statement, struct status *st);

/* Whether column `i` is a blob of exactly these bytes. */
bool connection_column_equals(sqlite3_stmt *statement, int i, const void *bytes, size_t n);

/* The sentence for SQLite's result code. */
int connection_error(struct connection *c, int result, struct status *st);

/* Ends an open transaction, if there is one, as if it had not been. */
void connection_rollback(struct connection *c);

#endif
