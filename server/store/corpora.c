#include "server/store/corpora.h"

#include "server/store/store_private.h"

static const char sql_names[] = "SELECT json_group_array(name) FROM (SELECT name FROM corpus"
                                " JOIN indexed ON indexed.corpus = corpus.id"
                                " WHERE indexed.source = :source AND indexed.documents > 0 GROUP "
                                "BY name ORDER BY min(corpus.id))";

int corpora_names(struct store *store, int64_t source, struct text *json, struct status *st)
{
    struct connection c;
    sqlite3_stmt *s;
    bool row;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    if (connection_prepare(&c, sql_names, &s, st) != 0 ||
        connection_bind_integer(&c, s, ":source", source, st) != 0 ||
        connection_step(&c, s, &row, st) != 0) {
        code = (int)st->code;
    } else if (row) {
        text_append(json, (const char *)sqlite3_column_text(s, 0),
                    (size_t)sqlite3_column_bytes(s, 0));
        (void)sqlite3_reset(s);
        code = json->failed ? status_no_memory(st, 64) : 0;
    }
    store_read_end(store, &c);
    return code;
}
