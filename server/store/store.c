#include "server/store/store.h"

#include "core/base/memory.h"
#include "server/store/migrate.h"
#include "server/store/store_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BUSY_MS = 5000 };

/* The path as SQLite shall see it: never as the name of something that is no file. */
static char *plain_path(const char *path)
{
    if (path[0] != ':' && !text_starts_with(path, "file:")) {
        return memory_string(path);
    }
    struct text t = {0};
    text_printf(&t, "./%s", path);
    return text_take(&t, NULL);
}

static int limit_pages(struct connection *c, int64_t max_pages, struct status *st)
{
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA max_page_count=%" PRId64, max_pages);
    return connection_run(c, sql, st);
}

static int open_writer(struct store *s, const struct migrations *m,
                       const struct store_options *options, struct status *st)
{
    struct connection *c = &s->writer;
    if (connection_open(c, s->path, true, s->busy_ms, st) != 0 || migrate_check(c, m, st) != 0 ||
        connection_set_writer(c, st) != 0 ||
        (options->max_pages && limit_pages(c, options->max_pages, st) != 0) ||
        migrate_apply(c, m, st) != 0 || migrate_check(c, m, st) != 0) {
        return (int)st->code;
    }
    return 0;
}

int store_open_with(struct store **store, const char *path, const char *migrations,
                    const struct store_options *options, struct status *st)
{
    struct migrations m = {0};
    struct store *s = NULL;
    int code;
    *store = NULL;
    if (path[0] == '\0') {
        return status_set(st, STATUS_INVALID,
                          "--db: expected the name of a file, found an empty one");
    }
    if ((code = migrate_list(&m, migrations, st)) != 0) {
        goto done;
    }
    s = memory_zalloc(1, sizeof *s);
    if (!s) {
        code = status_no_memory(st, sizeof *s);
        goto done;
    }
    (void)pthread_mutex_init(&s->write_lock, NULL);
    (void)pthread_mutex_init(&s->read_lock, NULL);
    s->busy_ms = options->busy_ms;
    s->path = plain_path(path);
    code = s->path ? open_writer(s, &m, options, st) : status_no_memory(st, strlen(path) + 3);
done:
    migrate_free(&m);
    if (code != 0) {
        store_close(s);
    } else {
        *store = s;
    }
    return code;
}

int store_open(struct store **store, const char *path, const char *migrations, struct status *st)
{
    return store_open_with(store, path, migrations, &(struct store_options){.busy_ms = BUSY_MS},
                           st);
}

void store_close(struct store *store)
{
    if (!store) {
        return;
    }
    for (size_t i = 0; i < store->n_readers; i++) {
        connection_close(&store->readers[i]);
    }
    /* The last connection moves the log into the file by itself; this one is for when another
     * process still has the file open. */
    if (store->writer.db) {
        (void)sqlite3_wal_checkpoint_v2(store->writer.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                        NULL);
    }
    connection_close(&store->writer);
    text_free(&store->scratch);
    (void)pthread_mutex_destroy(&store->write_lock);
    (void)pthread_mutex_destroy(&store->read_lock);
    memory_free(store->path);
    memory_free(store);
}

int store_write_begin(struct store *store, struct status *st)
{
    (void)pthread_mutex_lock(&store->write_lock);
    /* IMMEDIATE: whoever means to write waits for its turn now, not in the middle. */
    int code = connection_run(&store->writer, "BEGIN IMMEDIATE", st);
    if (code != 0) {
        (void)pthread_mutex_unlock(&store->write_lock);
    }
    return code;
}

int store_write_end(struct store *store, int code, struct status *st)
{
    if (code == 0) {
        code = connection_run(&store->writer, "COMMIT", st);
    }
    connection_rollback(&store->writer);
    (void)pthread_mutex_unlock(&store->write_lock);
    return code;
}

int store_read_begin(struct store *store, struct connection *c, struct status *st)
{
    bool found = false;
    (void)pthread_mutex_lock(&store->read_lock);
    if (store->n_readers > 0) {
        *c = store->readers[--store->n_readers];
        found = true;
    }
    (void)pthread_mutex_unlock(&store->read_lock);
    if (found) {
        return 0;
    }
    if (connection_open(c, store->path, false, store->busy_ms, st) != 0 ||
        connection_set_reader(c, st) != 0) {
        connection_close(c);
        return (int)st->code;
    }
    return 0;
}

void store_read_end(struct store *store, struct connection *c)
{
    (void)pthread_mutex_lock(&store->read_lock);
    if (store->n_readers < STORE_READERS_KEPT) {
        store->readers[store->n_readers++] = *c;
        *c = (struct connection){0};
    }
    (void)pthread_mutex_unlock(&store->read_lock);
    connection_close(c);
}

static const char sql_texts[] = "SELECT count(*) FROM text";
static const char sql_activations[] = "SELECT coalesce(sum(activations), 0) FROM source";
static const char sql_bytes[] =
    "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";

int store_figures(struct store *store, struct store_figures *figures, struct status *st)
{
    struct connection c;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    if (connection_integer(&c, sql_texts, &figures->texts, st) != 0 ||
        connection_integer(&c, sql_activations, &figures->activations, st) != 0 ||
        connection_integer(&c, sql_bytes, &figures->bytes, st) != 0) {
        code = (int)st->code;
    }
    store_read_end(store, &c);
    return code;
}
