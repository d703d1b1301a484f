#include "server/store/inspect.h"

#include "server/store/connection.h"
#include "server/store/migrate.h"

#include <stdio.h>
#include <string.h>

enum { BUSY_MS = 1000 };

static const char sql_version[] = "PRAGMA user_version";
static const char sql_bytes[] =
    "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
static const char sql_free[] =
    "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size";
static const char sql_check[] = "PRAGMA integrity_check(1)";
static const char sql_models[] =
    "SELECT name, identity, (SELECT count(*) FROM source WHERE source.model = model.id),"
    " (SELECT count(*) FROM text WHERE text.model = model.id) FROM model ORDER BY id DESC";
static const char sql_texts[] = "SELECT count(*) FROM text";
static const char sql_explanations[] = "SELECT count(*) FROM explanation";

static void note_damage(struct inspect_report *r, const char *says)
{
    size_t n = strcspn(says, "\n");
    n = n < sizeof r->damage ? n : sizeof r->damage - 1;
    memcpy(r->damage, says, n);
    r->damage[n] = '\0';
}

static int check_whole(struct connection *c, struct inspect_report *r, struct status *st)
{
    sqlite3_stmt *statement;
    bool row = false;
    int code = connection_prepare(c, sql_check, &statement, st);
    code = code ? code : connection_step(c, statement, &row, st);
    if (code == 0 && row) {
        const char *says = (const char *)sqlite3_column_text(statement, 0);
        if (says && strcmp(says, "ok") != 0) {
            /* "*** in database main ***" stands in a line of its own before what is wrong. */
            const char *line = *says == '*' ? strchr(says, '\n') : NULL;
            note_damage(r, line ? line + 1 : says);
        }
        (void)sqlite3_reset(statement);
    }
    return code;
}

static int list_models(struct connection *c, struct inspect_report *r, struct status *st)
{
    sqlite3_stmt *statement;
    bool row = true;
    int code = connection_prepare(c, sql_models, &statement, st);
    while (code == 0 && (code = connection_step(c, statement, &row, st)) == 0 && row) {
        if (r->n_models == INSPECT_MODELS) {
            (void)sqlite3_reset(statement);
            break;
        }
        struct inspect_model *m = &r->models[r->n_models++];
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        (void)snprintf(m->name, sizeof m->name, "%s", name ? name : "");
        if (sqlite3_column_bytes(statement, 1) == (int)sizeof m->identity) {
            memcpy(m->identity, sqlite3_column_blob(statement, 1), sizeof m->identity);
        }
        m->sources = sqlite3_column_int64(statement, 2);
        m->texts = sqlite3_column_int64(statement, 3);
    }
    return code;
}

static int count_rows(struct connection *c, struct inspect_report *r, struct status *st)
{
    int code = r->schema >= 1 ? list_models(c, r, st) : 0;
    if (r->schema >= 1 && !code) {
        code = connection_integer(c, sql_texts, &r->texts, st);
    }
    if (r->schema >= 2 && !code) {
        code = connection_integer(c, sql_explanations, &r->explanations, st);
    }
    return code;
}

static int read_all(struct connection *c, const struct migrations *m, struct inspect_report *r,
                    struct status *st)
{
    int code;
    if ((code = connection_set_reader(c, st)) != 0 || (code = migrate_check(c, m, st)) != 0 ||
        (code = connection_integer(c, sql_version, &r->schema, st)) != 0 ||
        (code = connection_integer(c, sql_bytes, &r->bytes, st)) != 0 ||
        (code = connection_integer(c, sql_free, &r->free_bytes, st)) != 0) {
        return code;
    }
    code = check_whole(c, r, st);
    if (code == 0 && !r->damage[0]) {
        code = count_rows(c, r, st);
    }
    if (code == STATUS_CORRUPT) { /* too damaged to be checked: that is a finding, too */
        note_damage(r, sqlite3_errmsg(c->db));
        code = STATUS_OK;
    }
    return code;
}

/* Takes the lock that every writer needs, and lets it go. */
static void try_to_write(const char *path, struct status *st)
{
    struct connection c = {0};
    if (connection_open(&c, path, true, BUSY_MS, st) == 0) {
        (void)connection_run(&c, "BEGIN IMMEDIATE", st);
        connection_rollback(&c);
        connection_close(&c);
    }
}

int inspect_database(struct inspect_report *r, const char *path, const char *migrations,
                     struct status *st)
{
    struct migrations m = {0};
    struct connection c = {0};
    *r = (struct inspect_report){0};
    int code = migrate_list(&m, migrations, st);
    r->known = m.n;
    if (!code && (code = connection_open(&c, path, false, BUSY_MS, st)) == 0) {
        code = read_all(&c, &m, r, st);
        connection_close(&c);
    }
    if (!code) {
        try_to_write(path, &r->writing);
    }
    migrate_free(&m);
    return code;
}
