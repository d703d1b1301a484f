/* Walks the texts that a source was run over, with their activations: one pass over the range of
 * the activation table that is the source's, in its order, one text in memory at a time. */
#include "core/base/memory.h"
#include "server/store/blob.h"
#include "server/store/documents.h"
#include "server/store/store_private.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

struct walk {
    struct connection c;
    int64_t source, d_sae;
    int32_t *ids;
    size_t n, ids_capacity;
    struct store_place *places;
    size_t n_places, places_capacity;
    struct sparse rows;
    int (*visit)(void *user, const struct store_visit *v, struct status *st);
    void *user;
};

static const char sql_source_size[] = "SELECT d_sae FROM source WHERE id = :source";

static int walk_begin(struct walk *w, struct store *store, int64_t source, struct status *st)
{
    *w = (struct walk){.source = source};
    if (store_read_begin(store, &w->c, st) != 0) {
        return (int)st->code;
    }
    sqlite3_stmt *s;
    bool row;
    if (connection_prepare(&w->c, sql_source_size, &s, st) != 0 ||
        connection_bind_integer(&w->c, s, ":source", source, st) != 0 ||
        connection_step_integer(&w->c, s, &row, &w->d_sae, st) != 0) {
        store_read_end(store, &w->c);
        return (int)st->code;
    }
    return 0;
}

static void walk_end(struct walk *w, struct store *store)
{
    store_read_end(store, &w->c);
    memory_free(w->ids);
    memory_free(w->places);
    sparse_free(&w->rows);
}

static int add_place(struct walk *w, int64_t corpus, int64_t number, struct status *st)
{
    if (w->n_places == w->places_capacity) {
        size_t capacity = w->places_capacity ? 2 * w->places_capacity : 16;
        struct store_place *grown = memory_resize(w->places, capacity, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, capacity * sizeof *grown);
        }
        w->places = grown;
        w->places_capacity = capacity;
    }
    w->places[w->n_places++] = (struct store_place){corpus, number};
    return 0;
}

static const char sql_read_ids[] = "SELECT ids FROM text WHERE id = :text";

static int read_ids(struct walk *w, int64_t text, struct status *st)
{
    sqlite3_stmt *s;
    bool row;
    if (connection_prepare(&w->c, sql_read_ids, &s, st) != 0 ||
        connection_bind_integer(&w->c, s, ":text", text, st) != 0 ||
        connection_step(&w->c, s, &row, st) != 0) {
        return (int)st->code;
    }
    const void *ids = row ? sqlite3_column_blob(s, 0) : NULL;
    size_t n = row ? (size_t)sqlite3_column_bytes(s, 0) / sizeof *w->ids : 0;
    int code = 0;
    if (n > w->ids_capacity) {
        int32_t *grown = memory_resize(w->ids, n, sizeof *grown);
        if (grown) {
            w->ids = grown;
            w->ids_capacity = n;
        } else {
            code = status_no_memory(st, n * sizeof *grown);
        }
    }
    if (code == 0 && n > 0) {
        memcpy(w->ids, ids, n * sizeof *w->ids);
    }
    w->n = n;
    if (row) {
        (void)sqlite3_reset(s);
    }
    return code;
}

static int row_is_bad(const struct walk *w, int64_t text, size_t position, struct status *st)
{
    return status_set(st, STATUS_CORRUPT,
                      "%s: text %" PRId64 ", position %zu: its activations under source %" PRId64
                      " are missing or damaged: stop darkmatter, run `DELETE FROM indexed WHERE "
                      "source = %" PRId64 "` on the file and index again",
                      w->c.path, text, position, w->source, w->source);
}

static const char sql_read_rows[] = "SELECT position, features FROM activation"
                                    " WHERE source = :source AND text = :text ORDER BY position";

static int read_rows(struct walk *w, sqlite3_stmt *s, int64_t text, struct status *st)
{
    sparse_clear(&w->rows);
    for (size_t i = 0; i < w->n; i++) {
        bool row;
        if (connection_step(&w->c, s, &row, st) != 0) {
            return (int)st->code;
        }
        if (!row) {
            return row_is_bad(w, text, i, st);
        }
        const void *blob = sqlite3_column_blob(s, 1);
        size_t size = (size_t)sqlite3_column_bytes(s, 1);
        bool sound = sqlite3_column_int64(s, 0) == (int64_t)i && blob_decode(blob, size, &w->rows);
        if (w->rows.failed) {
            return status_no_memory(st, size);
        }
        size_t end = sound ? w->rows.start[i + 1] : 0;
        if (!sound || (end > w->rows.start[i] && w->rows.index[end - 1] >= w->d_sae)) {
            return row_is_bad(w, text, i, st);
        }
    }
    return 0;
}

/* Reads the text whose places are at hand, and hands it over. */
static int visit_text(struct walk *w, int64_t text, struct status *st)
{
    sqlite3_stmt *s;
    if (read_ids(w, text, st) != 0 || connection_prepare(&w->c, sql_read_rows, &s, st) != 0 ||
        connection_bind_integer(&w->c, s, ":source", w->source, st) != 0 ||
        connection_bind_integer(&w->c, s, ":text", text, st) != 0) {
        return (int)st->code;
    }
    int code = read_rows(w, s, text, st);
    (void)sqlite3_reset(s);
    if (code != 0) {
        return code;
    }
    const struct store_visit v = {.text = text,
                                  .ids = w->ids,
                                  .n = w->n,
                                  .places = w->places,
                                  .n_places = w->n_places,
                                  .rows = &w->rows};
    return w->visit(w->user, &v, st);
}

/* document_text holds (text, corpus, number) in this order, so nothing is sorted and the table
 * itself is not touched. */
static const char sql_places[] =
    "SELECT d.text, d.corpus, d.number FROM document d INDEXED BY document_text"
    " CROSS JOIN indexed i ON i.source = :source AND i.corpus = d.corpus"
    " WHERE d.number < i.documents ORDER BY d.text, d.corpus, d.number";

/* Visits each text once all of its places are gathered. */
static int walk_places(struct walk *w, sqlite3_stmt *s, struct status *st)
{
    int64_t text = 0;
    for (;;) {
        bool row;
        if (connection_step(&w->c, s, &row, st) != 0) {
            return (int)st->code;
        }
        int64_t next = row ? sqlite3_column_int64(s, 0) : 0;
        if (w->n_places > 0 && (!row || next != text)) {
            int code = visit_text(w, text, st);
            if (code != 0) {
                return code;
            }
            w->n_places = 0;
        }
        if (!row) {
            return 0;
        }
        text = next;
        if (add_place(w, sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 2), st) != 0) {
            return (int)st->code;
        }
    }
}

int store_visit_indexed(struct store *store, int64_t source,
                        int (*visit)(void *user, const struct store_visit *v, struct status *st),
                        void *user, struct status *st)
{
    struct walk w;
    if (walk_begin(&w, store, source, st) != 0) {
        return (int)st->code;
    }
    w.visit = visit;
    w.user = user;
    sqlite3_stmt *s;
    int code = connection_prepare(&w.c, sql_places, &s, st);
    if (code == 0 && (code = connection_bind_integer(&w.c, s, ":source", source, st)) == 0) {
        /* The statement stays open throughout, so that all is read as of one moment. */
        code = walk_places(&w, s, st);
        (void)sqlite3_reset(s);
    }
    walk_end(&w, store);
    return code;
}

static const char sql_places_of_text[] =
    "SELECT d.corpus, d.number FROM document d"
    " JOIN indexed i ON i.source = :source AND i.corpus = d.corpus"
    " WHERE d.text = :text AND d.number < i.documents ORDER BY d.corpus, d.number";

static int walk_text(struct walk *w, sqlite3_stmt *s, int64_t text, bool *found, struct status *st)
{
    for (;;) {
        bool row;
        if (connection_step(&w->c, s, &row, st) != 0) {
            return (int)st->code;
        }
        if (!row) {
            return *found ? visit_text(w, text, st) : 0;
        }
        *found = true;
        if (add_place(w, sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1), st) != 0) {
            return (int)st->code;
        }
    }
}

int store_visit_text(struct store *store, int64_t source, int64_t text,
                     int (*visit)(void *user, const struct store_visit *v, struct status *st),
                     void *user, bool *found, struct status *st)
{
    struct walk w;
    *found = false;
    if (walk_begin(&w, store, source, st) != 0) {
        return (int)st->code;
    }
    w.visit = visit;
    w.user = user;
    sqlite3_stmt *s;
    int code = 0;
    if (connection_prepare(&w.c, sql_places_of_text, &s, st) != 0 ||
        connection_bind_integer(&w.c, s, ":source", source, st) != 0 ||
        connection_bind_integer(&w.c, s, ":text", text, st) != 0) {
        code = (int)st->code;
    } else {
        code = walk_text(&w, s, text, found, st);
        (void)sqlite3_reset(s);
    }
    walk_end(&w, store);
    return code;
}
