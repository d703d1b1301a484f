/* Dashboards, as pages read them. */
#include "core/base/memory.h"
#include "server/store/blob.h"
#include "server/store/dashboards.h"
#include "server/store/dashboards_blob.h"
#include "server/store/store_private.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

/* --- the whole source ---------------------------------------------------------------------------
 */

static const char sql_read_dashboard[] =
    "SELECT documents, tokens, context, seed, d_sae, counts, maxima, corpora, made_at"
    " FROM dashboard JOIN source ON source.id = dashboard.source WHERE source = :source";

/* Copies counts, maxima and the two strings into one block. */
static int copy_dashboard(sqlite3_stmt *s, struct store_dashboard *d, int64_t source,
                          struct status *st)
{
    size_t bytes = (size_t)sqlite3_column_bytes(s, 5);
    size_t corpora = (size_t)sqlite3_column_bytes(s, 7);
    size_t made_at = (size_t)sqlite3_column_bytes(s, 8);
    *d = (struct store_dashboard){.documents = sqlite3_column_int64(s, 0),
                                  .tokens = sqlite3_column_int64(s, 1),
                                  .context = sqlite3_column_int64(s, 2),
                                  .seed = sqlite3_column_int64(s, 3),
                                  .d_sae = (size_t)sqlite3_column_int64(s, 4)};
    if (bytes % sizeof *d->counts != 0 || bytes / sizeof *d->counts != d->d_sae ||
        bytes != (size_t)sqlite3_column_bytes(s, 6)) {
        return status_set(st, STATUS_CORRUPT,
                          "the dashboard of source %" PRId64 " is damaged (counts or maxima of "
                          "%zu bytes for %zu features): index it again",
                          source, bytes, d->d_sae);
    }
    size_t total = 2 * bytes + corpora + made_at + 2;
    char *memory = memory_alloc(total, 1);
    if (!memory) {
        return status_no_memory(st, total);
    }
    char *strings = memory + 2 * bytes;
    memcpy(memory, sqlite3_column_blob(s, 5), bytes);
    memcpy(memory + bytes, sqlite3_column_blob(s, 6), bytes);
    memcpy(strings, sqlite3_column_text(s, 7), corpora + 1);
    memcpy(strings + corpora + 1, sqlite3_column_text(s, 8), made_at + 1);
    d->memory = memory;
    d->counts = (const uint32_t *)(void *)memory;
    d->maxima = (const float *)(void *)(memory + bytes);
    d->corpora = strings;
    d->made_at = strings + corpora + 1;
    return 0;
}

int store_read_dashboard(struct store *store, int64_t source, struct store_dashboard *dashboard,
                         bool *found, struct status *st)
{
    struct connection c;
    *dashboard = (struct store_dashboard){0};
    *found = false;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    sqlite3_stmt *s;
    int code = 0;
    if (connection_prepare(&c, sql_read_dashboard, &s, st) != 0 ||
        connection_bind_integer(&c, s, ":source", source, st) != 0 ||
        connection_step(&c, s, found, st) != 0) {
        code = (int)st->code;
    } else if (*found) {
        code = copy_dashboard(s, dashboard, source, st);
        *found = code == 0;
        (void)sqlite3_reset(s);
    }
    store_read_end(store, &c);
    return code;
}

void store_dashboard_free(struct store_dashboard *dashboard)
{
    memory_free(dashboard->memory);
    *dashboard = (struct store_dashboard){0};
}

static const char sql_find_dashboard[] =
    "SELECT max(s.id) FROM source s JOIN model m ON m.id = s.model"
    " JOIN dashboard d ON d.source = s.id WHERE m.name = :model AND s.name = :source";

int store_find_dashboard(struct store *store, const char *model, const char *source, int64_t *row,
                         bool *found, struct status *st)
{
    struct connection c;
    sqlite3_stmt *s;
    *row = 0;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    int code = 0;
    if (connection_prepare(&c, sql_find_dashboard, &s, st) != 0 ||
        connection_bind_text(&c, s, ":model", model, st) != 0 ||
        connection_bind_text(&c, s, ":source", source, st) != 0 ||
        connection_step_integer(&c, s, found, row, st) != 0) {
        code = (int)st->code;
    }
    *found = code == 0 && *row != 0; /* without a dashboard the maximum is NULL */
    store_read_end(store, &c);
    return code;
}

/* --- one feature --------------------------------------------------------------------------------
 */

/* A page is made of growing parts and gets its pointers at the end, when nothing moves any more. */
struct page_memory {
    struct store_example *examples;
    size_t capacity;
    struct text arena; /* for each example n ids, then n values; behind them the label */
    struct sparse along;
};

static int page_is_damaged(int64_t source, uint32_t index, struct status *st)
{
    return status_set(st, STATUS_CORRUPT,
                      "the page of feature %" PRIu32 " of source %" PRId64 " is damaged: index the "
                      "source again",
                      index, source);
}

static const char sql_read_feature[] =
    "SELECT f.count, f.maximum, f.statistic, l.logits, f.label FROM dashboard d"
    " JOIN feature f ON f.build = d.build AND f.number = :number"
    " LEFT JOIN feature_logits l ON l.source = d.source AND l.number = f.number"
    " WHERE d.source = :source";

/* The label's text is appended to *label. */
static int read_feature(struct connection *c, int64_t source, uint32_t index,
                        struct store_feature *f, struct text *label, bool *found, struct status *st)
{
    sqlite3_stmt *s;
    if (connection_prepare(c, sql_read_feature, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0 ||
        connection_bind_integer(c, s, ":number", index, st) != 0 ||
        connection_step(c, s, found, st) != 0 || !*found) {
        return (int)st->code;
    }
    f->index = index;
    f->count = sqlite3_column_int64(s, 0);
    f->maximum = (float)sqlite3_column_double(s, 1);
    bool sound = dashboards_blob_read_statistic(sqlite3_column_blob(s, 2),
                                                (size_t)sqlite3_column_bytes(s, 2), f) &&
                 dashboards_blob_read_logits(sqlite3_column_blob(s, 3),
                                             (size_t)sqlite3_column_bytes(s, 3), f);
    const char *text = (const char *)sqlite3_column_text(s, 4);
    text_append(label, text ? text : "", text ? (size_t)sqlite3_column_bytes(s, 4) : 0);
    (void)sqlite3_reset(s);
    return sound ? 0 : page_is_damaged(source, index, st);
}

/* The places below the limit are picked by the key, so of a long list only those are read. */
static const char sql_read_examples[] =
    "SELECT part, place, text, corpus, document, position, value, bin_min, bin_max, bin_contains,"
    " along, ids FROM example JOIN text ON text.id = example.text"
    " WHERE build = (SELECT build FROM dashboard WHERE source = :source) AND number = :number AND "
    "(part > 0 OR :limit = 0 OR place < :limit)"
    " ORDER BY part, place";

/* Appends the ids and, widened, the values along the text. False if the blob does not fit it. */
static bool read_along(struct page_memory *m, sqlite3_stmt *s, size_t n)
{
    sparse_clear(&m->along);
    if (!blob_decode(sqlite3_column_blob(s, 10), (size_t)sqlite3_column_bytes(s, 10), &m->along)) {
        return false;
    }
    size_t values = m->along.start[1];
    if (values > 0 && m->along.index[values - 1] >= n) {
        return false;
    }
    text_append(&m->arena, sqlite3_column_blob(s, 11), n * sizeof(int32_t));
    if (text_reserve(&m->arena, n * sizeof(float))) {
        float *along = (float *)(void *)(m->arena.data + m->arena.length);
        memset(along, 0, n * sizeof *along);
        for (size_t i = 0; i < values; i++) {
            along[m->along.index[i]] = m->along.value[i];
        }
        m->arena.length += n * sizeof *along;
    }
    return true;
}

static int read_example(struct page_memory *m, sqlite3_stmt *s, struct store_feature_page *page,
                        int64_t source, struct status *st)
{
    if (page->n_examples == m->capacity) {
        size_t capacity = m->capacity ? 2 * m->capacity : 64;
        struct store_example *grown = memory_resize(m->examples, capacity, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, capacity * sizeof *grown);
        }
        m->examples = grown;
        m->capacity = capacity;
    }
    size_t n = (size_t)sqlite3_column_bytes(s, 11) / sizeof(int32_t);
    struct store_example e = {.part = sqlite3_column_int(s, 0),
                              .place = sqlite3_column_int(s, 1),
                              .text = sqlite3_column_int64(s, 2),
                              .corpus = sqlite3_column_int64(s, 3),
                              .document = sqlite3_column_int64(s, 4),
                              .position = sqlite3_column_int(s, 5),
                              .value = (float)sqlite3_column_double(s, 6),
                              .bin_min = (float)sqlite3_column_double(s, 7),
                              .bin_max = (float)sqlite3_column_double(s, 8),
                              .bin_contains = sqlite3_column_double(s, 9),
                              .n_tokens = n};
    bool sound = e.part >= 0 && e.part < DASHBOARD_PARTS && e.position >= 0 &&
                 (size_t)e.position < n && read_along(m, s, n);
    if (m->along.failed || m->arena.failed) {
        return status_no_memory(st, n * (sizeof(int32_t) + sizeof(float)));
    }
    if (!sound) {
        return page_is_damaged(source, page->feature.index, st);
    }
    m->examples[page->n_examples++] = e;
    return 0;
}

static int read_examples(struct connection *c, int64_t source, size_t limit, struct page_memory *m,
                         struct store_feature_page *page, struct status *st)
{
    sqlite3_stmt *s;
    if (connection_prepare(c, sql_read_examples, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0 ||
        connection_bind_integer(c, s, ":number", page->feature.index, st) != 0 ||
        connection_bind_integer(c, s, ":limit", (int64_t)limit, st) != 0) {
        return (int)st->code;
    }
    for (;;) {
        bool row;
        if (connection_step(c, s, &row, st) != 0) {
            return (int)st->code;
        }
        if (!row) {
            return 0;
        }
        int code = read_example(m, s, page, source, st);
        if (code != 0) {
            (void)sqlite3_reset(s);
            return code;
        }
    }
}

static void set_pointers(struct store_feature_page *page, struct page_memory *m)
{
    char *at = m->arena.data;
    for (size_t i = 0; i < page->n_examples; i++) {
        struct store_example *e = &m->examples[i];
        e->ids = (const int32_t *)(void *)at;
        at += e->n_tokens * sizeof *e->ids;
        e->along = (const float *)(void *)at;
        at += e->n_tokens * sizeof *e->along;
    }
    page->feature.label = at;
    page->examples = m->examples;
    page->memory = m->arena.data;
}

/* Feature and examples, as of one moment. */
static int read_page(struct connection *c, int64_t source, uint32_t index, size_t limit,
                     struct page_memory *m, struct store_feature_page *page, bool *found,
                     struct status *st)
{
    struct text label = {0};
    int code = connection_run(c, "BEGIN", st);
    if (code == 0) {
        code = read_feature(c, source, index, &page->feature, &label, found, st);
    }
    if (code == 0 && *found) {
        code = read_examples(c, source, limit, m, page, st);
    }
    connection_rollback(c);
    if (code == 0 && *found) {
        text_append(&m->arena, label.data ? label.data : "", label.length);
        if (m->arena.failed || label.failed) {
            code = status_no_memory(st, label.length);
        }
    }
    text_free(&label);
    return code;
}

int store_read_feature(struct store *store, int64_t source, uint32_t index, size_t limit,
                       struct store_feature_page *page, bool *found, struct status *st)
{
    struct connection c;
    struct page_memory m = {0};
    *page = (struct store_feature_page){0};
    *found = false;
    if (store_read_begin(store, &c, st) != 0) {
        return (int)st->code;
    }
    status_clear(st);
    int code = read_page(&c, source, index, limit, &m, page, found, st);
    store_read_end(store, &c);
    sparse_free(&m.along);
    if (code == 0 && *found) {
        set_pointers(page, &m);
    } else {
        memory_free(m.examples);
        text_free(&m.arena);
        *page = (struct store_feature_page){0};
        *found = false;
    }
    return code;
}

void store_feature_page_free(struct store_feature_page *page)
{
    memory_free(page->examples);
    memory_free(page->memory);
    *page = (struct store_feature_page){0};
}
