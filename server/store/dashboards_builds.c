#include "server/store/dashboards_builds.h"

#include <time.h>

enum { STEP = 64 }; /* features removed in a turn, with up to 45 examples each */

void builds_pause(void)
{
    /* Longer than what others sleep between two tries (connection.c). */
    (void)nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
}

static const char sql_start[] = "INSERT INTO build (source) VALUES (:source) RETURNING id";

int builds_start(struct connection *c, int64_t source, int64_t *build, struct status *st)
{
    sqlite3_stmt *s;
    bool row;
    if (connection_prepare(c, sql_start, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0) {
        return (int)st->code;
    }
    return connection_step_integer(c, s, &row, build, st);
}

int builds_run(struct connection *c, const char *sql, const char *name, int64_t value,
               struct status *st)
{
    sqlite3_stmt *s;
    if (connection_prepare(c, sql, &s, st) != 0 ||
        connection_bind_integer(c, s, name, value, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

static const char sql_last[] =
    "SELECT coalesce(max(number) + 1, 0) FROM feature WHERE build = :build";
static const char sql_remove_examples[] =
    "DELETE FROM example WHERE build = :build AND number >= :first AND number < :end";
static const char sql_remove_labels[] = "DELETE FROM label_text WHERE rowid >= (:build << 32) + "
                                        ":first AND rowid < (:build << 32) + :end";
static const char sql_remove_features[] =
    "DELETE FROM feature WHERE build = :build AND number >= :first AND number < :end";
static const char sql_remove_build[] = "DELETE FROM build WHERE id = :build";

static int remove_range(struct connection *c, const char *sql, int64_t build, int64_t first,
                        struct status *st)
{
    sqlite3_stmt *s;
    if (connection_prepare(c, sql, &s, st) != 0 ||
        connection_bind_integer(c, s, ":build", build, st) != 0 ||
        connection_bind_integer(c, s, ":first", first, st) != 0 ||
        connection_bind_integer(c, s, ":end", first + STEP, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

/* How many features there may be: a feature's row is removed after its examples and label. */
static int read_end(struct store *store, int64_t build, int64_t *end, struct status *st)
{
    struct connection c;
    sqlite3_stmt *s;
    bool row;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    if (connection_prepare(&c, sql_last, &s, st) != 0 ||
        connection_bind_integer(&c, s, ":build", build, st) != 0 ||
        connection_step_integer(&c, s, &row, end, st) != 0) {
        code = (int)st->code;
    }
    store_read_end(store, &c);
    return code;
}

static int remove_step(struct store *store, int64_t build, int64_t first, struct status *st)
{
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    struct connection *c = &store->writer;
    int code = remove_range(c, sql_remove_examples, build, first, st);
    code = code ? code : remove_range(c, sql_remove_labels, build, first, st);
    code = code ? code : remove_range(c, sql_remove_features, build, first, st);
    return store_write_end(store, code, st);
}

int builds_remove(struct store *store, int64_t build, struct status *st)
{
    int64_t end = 0;
    int code = read_end(store, build, &end, st);
    for (int64_t first = 0; first < end && !code; first += STEP) {
        code = remove_step(store, build, first, st);
        builds_pause();
    }
    if (code || store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    code = builds_run(&store->writer, sql_remove_build, ":build", build, st);
    return store_write_end(store, code, st);
}

static const char sql_hidden[] =
    "SELECT id FROM build WHERE source = :source AND id NOT IN"
    " (SELECT build FROM dashboard WHERE source = :source AND build IS NOT NULL) LIMIT 1";

static int find_hidden(struct store *store, int64_t source, int64_t *build, bool *found,
                       struct status *st)
{
    struct connection c;
    sqlite3_stmt *s;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    if (connection_prepare(&c, sql_hidden, &s, st) != 0 ||
        connection_bind_integer(&c, s, ":source", source, st) != 0 ||
        connection_step_integer(&c, s, found, build, st) != 0) {
        code = (int)st->code;
    }
    store_read_end(store, &c);
    return code;
}

int builds_remove_hidden(struct store *store, int64_t source, struct status *st)
{
    int64_t build = 0;
    bool found = true;
    int code = 0;
    while (found && !code) {
        code = find_hidden(store, source, &build, &found, st);
        if (found && !code) {
            code = builds_remove(store, build, st);
        }
    }
    return code;
}
