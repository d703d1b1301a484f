#include "server/store/migrate.h"

#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int is_sql(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && text_ends_with(entry->d_name, ".sql");
}

/* The number in front of NNNN_name.sql, -1 if the name has another form. */
static int number_of(const char *name)
{
    int number = 0;
    for (int i = 0; i < 4; i++) {
        if (!isdigit((unsigned char)name[i])) {
            return -1;
        }
        number = number * 10 + (name[i] - '0');
    }
    return name[4] == '_' ? number : -1;
}

int migrate_list(struct migrations *m, const char *folder, struct status *st)
{
    *m = (struct migrations){.folder = folder};
    m->n = scandir(folder, &m->files, is_sql, alphasort);
    if (m->n < 0) {
        m->n = 0;
        return status_set(st, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                          "%s: the folder of migrations cannot be read (%s): it comes with "
                          "darkmatter; --share names the folder that holds it",
                          folder, strerror(errno));
    }
    if (m->n == 0) {
        return status_set(st, STATUS_NOT_FOUND,
                          "%s: expected files NNNN_name.sql, found none: --share names the folder "
                          "that holds darkmatter's migrations",
                          folder);
    }
    for (int i = 0; i < m->n; i++) {
        if (number_of(m->files[i]->d_name) != i + 1) {
            return status_set(st, STATUS_CORRUPT,
                              "%s/%s: expected migration %04d_name.sql at this place: the numbers "
                              "start at 0001 and have no gaps",
                              folder, m->files[i]->d_name, i + 1);
        }
    }
    return 0;
}

void migrate_free(struct migrations *m)
{
    for (int i = 0; i < m->n; i++) {
        free(m->files[i]); /* scandir's memory */
    }
    free(m->files);
    *m = (struct migrations){0};
}

static const char sql_application[] = "PRAGMA application_id";
static const char sql_version[] = "PRAGMA user_version";
static const char sql_objects[] = "SELECT count(*) FROM sqlite_schema";

int migrate_check(struct connection *c, const struct migrations *m, struct status *st)
{
    int64_t application;
    int64_t version;
    int64_t objects;
    /* One transaction: another process may be making the file at this moment. */
    if (connection_run(c, "BEGIN", st) != 0 ||
        connection_integer(c, sql_application, &application, st) != 0 ||
        connection_integer(c, sql_version, &version, st) != 0 ||
        connection_integer(c, sql_objects, &objects, st) != 0) {
        connection_rollback(c);
        return (int)st->code;
    }
    connection_rollback(c);
    bool is_new = application == 0 && version == 0 && objects == 0;
    if (!is_new && application != MIGRATE_APPLICATION_ID) {
        return status_set(st, STATUS_INVALID,
                          "%s: a database of another program (application id %lld, darkmatter's is "
                          "%d): name another file with --db",
                          c->path, (long long)application, MIGRATE_APPLICATION_ID);
    }
    if (version > m->n) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: made by a newer darkmatter (schema %lld, this one knows %d): use "
                          "that version, or another --db",
                          c->path, (long long)version, m->n);
    }
    return 0;
}

/* The file's SQL and then its number, to be run as one transaction. */
static int read_migration(struct text *sql, const struct migrations *m, int number,
                          struct status *st)
{
    struct text path = {0};
    text_printf(&path, "%s/%s", m->folder, m->files[number - 1]->d_name);
    if (path.failed) {
        text_free(&path);
        return status_no_memory(st, strlen(m->folder));
    }
    struct mapped_file file;
    int code = mapped_file_open(&file, path.data, st);
    text_free(&path);
    if (code != 0) {
        return code;
    }
    text_append(sql, (const char *)file.data, file.size);
    text_printf(sql, "\n;PRAGMA application_id=%d; PRAGMA user_version=%d;", MIGRATE_APPLICATION_ID,
                number);
    code = sql->failed ? status_no_memory(st, file.size) : 0;
    mapped_file_close(&file);
    return code;
}

static int apply_next(struct connection *c, const struct migrations *m, struct status *st)
{
    int64_t version;
    struct text sql = {0};
    int code = connection_run(c, "BEGIN IMMEDIATE", st);
    if (code != 0) {
        return code;
    }
    /* Read again under the lock: another process may have been faster. */
    code = connection_integer(c, sql_version, &version, st);
    if (code == 0 && version < m->n) {
        int number = (int)version + 1;
        code = read_migration(&sql, m, number, st);
        if (code == 0 && (code = connection_run(c, sql.data, st)) != 0) {
            (void)status_prefix(st, "%s", m->files[number - 1]->d_name);
        }
    }
    if (code == 0) {
        code = connection_run(c, "COMMIT", st);
    }
    connection_rollback(c);
    text_free(&sql);
    return code;
}

int migrate_apply(struct connection *c, const struct migrations *m, struct status *st)
{
    int64_t version;
    int code;
    while ((code = connection_integer(c, sql_version, &version, st)) == 0 && version < m->n) {
        if ((code = apply_next(c, m, st)) != 0) {
            break;
        }
    }
    return code;
}
