/* Whether pages of features would still say what they said. */
#include "server/store/store_private.h"

static const char sql_state[] = "SELECT number FROM pages";

int store_pages_state(struct store *store, int64_t *state, struct status *st)
{
    struct connection c;
    *state = 0;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    sqlite3_stmt *s;
    bool row; /* none where somebody emptied the table */
    int code = connection_prepare(&c, sql_state, &s, st);
    code = code ? code : connection_step_integer(&c, s, &row, state, st);
    store_read_end(store, &c);
    return code;
}
