/* Full-text search. FTS5 gives bm25(), negative and smaller for better rows. */
#include "core/base/json.h"
#include "core/base/memory.h"
#include "server/store/explanations.h"
#include "server/store/store_private.h"

#include <stdint.h>
#include <string.h>

/* --- the query -------------------------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether the tokenizer can find anything in it: ASCII letters and digits, or any other script. */
static bool has_letter(const char *word, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)word[i];
        if (c >= 0x80 || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')) {
            return true;
        }
    }
    return false;
}

/* Every word in quotes, where FTS5 knows no operators; the last may be a beginning. Nothing is
 * appended if there is no word. */
static void build_match(struct text *out, const char *query)
{
    for (const char *p = query; *p;) {
        size_t n = 0;
        while (p[n] && !is_space(p[n])) {
            n++;
        }
        if (has_letter(p, n)) {
            text_string(out, out->length ? " \"" : "\"");
            for (size_t i = 0; i < n; i++) {
                text_append(out, p[i] == '"' ? "\"\"" : &p[i], p[i] == '"' ? 2 : 1);
            }
            text_char(out, '"');
        }
        p += n + (p[n] != '\0');
    }
    if (out->length) {
        text_char(out, '*');
    }
}

/* The names as a JSON list for json_each; NULL for none. False when memory ran out. */
static bool build_list(char **list, const char *const *names, size_t n)
{
    *list = NULL;
    if (n == 0) {
        return true;
    }
    cJSON *array = cJSON_CreateArray();
    bool good = array != NULL;
    for (size_t i = 0; i < n && good; i++) {
        good = cJSON_AddItemToArray(array, cJSON_CreateString(names[i]));
    }
    *list = good ? cJSON_PrintUnformatted(array) : NULL;
    cJSON_Delete(array);
    return *list != NULL;
}

/* --- matches ---------------------------------------------------------------------------------- */

/* What people and models wrote comes before automatic labels: bm25 of two tables does not compare,
 * and labels, being short, would come first. Of the sources of one name only the newest dashboard's
 * labels count: max() picks the row that the other columns come from. */
static const char sql_match[] =
    "WITH latest AS (SELECT max(s.id), d.build, s.name AS source, m.name AS model FROM source s"
    " JOIN model m ON m.id = s.model JOIN dashboard d ON d.source = s.id GROUP BY m.name, s.name),"
    " hit AS ("
    " SELECT rowid AS row, bm25(explanation_stem) AS score FROM explanation_stem(:match)"
    " UNION ALL"
    " SELECT rowid, bm25(explanation_word) FROM explanation_word(:match))"
    " SELECT 0 AS is_label, hit.row AS row, min(score) AS score FROM hit"
    " JOIN explanation e ON e.row = hit.row"
    " WHERE (:model IS NULL OR e.model = :model)"
    " AND (:sources IS NULL OR e.source IN (SELECT value FROM json_each(:sources)))"
    " GROUP BY hit.row"
    " UNION ALL"
    " SELECT 1, l.rowid, bm25(label_text) FROM label_text(:match) l"
    " JOIN latest ON latest.build = l.rowid >> 32"
    " WHERE (:model IS NULL OR latest.model = :model)"
    " AND (:sources IS NULL OR latest.source IN (SELECT value FROM json_each(:sources)))"
    " ORDER BY is_label, score, row";

static const char sql_explanation[] =
    "SELECT model, source, number, description, explainer, type_name, id FROM explanation"
    " WHERE row = :row";

static const char sql_label[] =
    "SELECT m.name, s.name, l.rowid & 4294967295, l.label, '', '', '' FROM label_text l"
    " JOIN dashboard d ON d.build = l.rowid >> 32 JOIN source s ON s.id = d.source JOIN model m ON "
    "m.id = s.model WHERE l.rowid = :row";

static int show(struct connection *c, bool is_label, int64_t at, double rank,
                int (*visit)(void *user, const struct store_match *m), void *user,
                struct status *st)
{
    sqlite3_stmt *s;
    bool row;
    if (connection_prepare(c, is_label ? sql_label : sql_explanation, &s, st) != 0 ||
        connection_bind_integer(c, s, ":row", at, st) != 0 ||
        connection_step(c, s, &row, st) != 0 || !row) {
        return (int)st->code;
    }
    const char *t[7];
    for (int i = 0; i < 7; i++) {
        t[i] = i == 2 ? NULL : (const char *)sqlite3_column_text(s, i);
    }
    double better = rank < 0 ? -rank : 0;
    double score = better / (1 + better);
    const struct store_match m = {.model = t[0],
                                  .source = t[1],
                                  .index = sqlite3_column_int64(s, 2),
                                  .description = t[3],
                                  .explainer = t[4],
                                  .type_name = t[5],
                                  .id = t[6],
                                  .is_label = is_label,
                                  .score = is_label ? score / 2 : (1 + score) / 2};
    int code = visit(user, &m);
    (void)sqlite3_reset(s);
    return code;
}

/* Counts every match, shows those of the page. */
static int walk(struct connection *c, sqlite3_stmt *s, size_t offset, size_t limit,
                int (*visit)(void *user, const struct store_match *m), void *user, size_t *total,
                struct status *st)
{
    for (;;) {
        bool row;
        if (connection_step(c, s, &row, st) != 0) {
            return (int)st->code;
        }
        if (!row) {
            return 0;
        }
        size_t place = (*total)++;
        if (place >= offset && place - offset < limit) {
            int code = show(c, sqlite3_column_int(s, 0) != 0, sqlite3_column_int64(s, 1),
                            sqlite3_column_double(s, 2), visit, user, st);
            if (code != 0) {
                return code;
            }
        }
    }
}

int store_search(struct store *store, const char *query, const char *model,
                 const char *const *sources, size_t n_sources, size_t offset, size_t limit,
                 int (*visit)(void *user, const struct store_match *m), void *user, size_t *total,
                 struct status *st)
{
    struct connection c;
    struct text match = {0};
    char *list;
    *total = 0;
    status_clear(st);
    build_match(&match, query);
    if (!build_list(&list, sources, n_sources) || match.failed) {
        cJSON_free(list);
        text_free(&match);
        return status_no_memory(st, strlen(query));
    }
    int code = 0;
    if (match.length > 0 && (code = store_read_begin(store, &c, st)) == 0) {
        sqlite3_stmt *s;
        if (connection_prepare(&c, sql_match, &s, st) != 0 ||
            connection_bind_text(&c, s, ":match", match.data, st) != 0 ||
            connection_bind_text(&c, s, ":model", model, st) != 0 ||
            connection_bind_text(&c, s, ":sources", list, st) != 0) {
            code = (int)st->code;
        } else {
            code = walk(&c, s, offset, limit, visit, user, total, st);
            (void)sqlite3_reset(s);
        }
        store_read_end(store, &c);
    }
    cJSON_free(list);
    text_free(&match);
    return code;
}
