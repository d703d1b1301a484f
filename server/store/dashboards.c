/* Dashboards, written in short turns and shown as a whole. */
#include "server/store/dashboards.h"

#include "core/base/memory.h"
#include "server/store/blob.h"
#include "server/store/dashboards_blob.h"
#include "server/store/dashboards_builds.h"
#include "server/store/store_private.h"

#include <inttypes.h>
#include <stdint.h>

enum { STEP = 32 }; /* features put in a turn, with up to 45 examples each: some 10 ms */

struct store_dashboard_writer {
    struct store *store;
    int64_t source, build;
    const struct store_dashboard *dashboard;
    size_t in_turn;  /* features put in the turn that is open; 0: none is */
    uint32_t *place; /* [place_capacity] positions of an example's values above 0 ... */
    float *value;    /* ... and those values */
    size_t place_capacity;
};

static const char sql_source_size[] = "SELECT d_sae FROM source WHERE id = :source";

static int check_size(struct connection *c, int64_t source, size_t d_sae, struct status *st)
{
    sqlite3_stmt *s;
    bool row;
    int64_t size = 0;
    if (connection_prepare(c, sql_source_size, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", source, st) != 0 ||
        connection_step_integer(c, s, &row, &size, st) != 0) {
        return (int)st->code;
    }
    if ((size_t)size != d_sae) {
        return status_set(st, STATUS_INTERNAL,
                          "a dashboard of %zu features for source %" PRId64 ", which has %" PRId64,
                          d_sae, source, size);
    }
    return 0;
}

static const char sql_add_dashboard[] =
    "INSERT OR REPLACE INTO dashboard (source, build, documents, tokens, context, corpora, seed,"
    " counts, maxima, made_at) VALUES (:source, :build, :documents, :tokens, :context, :corpora,"
    " :seed, :counts, :maxima, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))";

/* From here on readers see the build. */
static int show_build(struct connection *c, const struct store_dashboard_writer *w,
                      struct status *st)
{
    const struct store_dashboard *d = w->dashboard;
    sqlite3_stmt *s;
    size_t bytes;
    if (!memory_multiply(d->d_sae, sizeof *d->counts, &bytes)) {
        return status_no_memory(st, SIZE_MAX);
    }
    if (connection_prepare(c, sql_add_dashboard, &s, st) != 0 ||
        connection_bind_integer(c, s, ":source", w->source, st) != 0 ||
        connection_bind_integer(c, s, ":build", w->build, st) != 0 ||
        connection_bind_integer(c, s, ":documents", d->documents, st) != 0 ||
        connection_bind_integer(c, s, ":tokens", d->tokens, st) != 0 ||
        connection_bind_integer(c, s, ":context", d->context, st) != 0 ||
        connection_bind_text(c, s, ":corpora", d->corpora, st) != 0 ||
        connection_bind_integer(c, s, ":seed", d->seed, st) != 0 ||
        connection_bind_blob(c, s, ":counts", d->counts, bytes, st) != 0 ||
        connection_bind_blob(c, s, ":maxima", d->maxima, bytes, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

int store_dashboard_begin(struct store *store, int64_t source,
                          const struct store_dashboard *dashboard,
                          struct store_dashboard_writer **writer, struct status *st)
{
    struct store_dashboard_writer *w = memory_zalloc(1, sizeof *w);
    *writer = NULL;
    if (!w) {
        return status_no_memory(st, sizeof *w);
    }
    *w = (struct store_dashboard_writer){.store = store, .source = source, .dashboard = dashboard};
    int code = builds_remove_hidden(store, source, st);
    if (code == 0 && (code = store_write_begin(store, st)) == 0) {
        struct connection *c = &store->writer;
        code = check_size(c, source, dashboard->d_sae, st);
        code = code ? code : builds_start(c, source, &w->build, st);
        code = store_write_end(store, code, st);
    }
    if (code != 0) {
        memory_free(w);
        return code;
    }
    *writer = w;
    return 0;
}

/* --- features -----------------------------------------------------------------------------------
 */

static const char sql_add_feature[] =
    "INSERT INTO feature (build, number, count, maximum, statistic, label)"
    " VALUES (:build, :number, :count, :maximum, :statistic, :label)";
static const char sql_add_label[] =
    "INSERT INTO label_text (rowid, label) VALUES ((:build << 32) + :number, :label)";

static int put_label(struct store_dashboard_writer *w, const struct store_feature *f,
                     struct status *st)
{
    struct connection *c = &w->store->writer;
    sqlite3_stmt *s;
    if (!f->label || !*f->label) {
        return 0;
    }
    if (connection_prepare(c, sql_add_label, &s, st) != 0 ||
        connection_bind_integer(c, s, ":build", w->build, st) != 0 ||
        connection_bind_integer(c, s, ":number", f->index, st) != 0 ||
        connection_bind_text(c, s, ":label", f->label, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

static int put_feature(struct store_dashboard_writer *w, const struct store_feature *f,
                       struct status *st)
{
    struct connection *c = &w->store->writer;
    struct text *statistic = &w->store->scratch;
    text_clear(statistic);
    dashboards_blob_statistic(statistic, f);
    if (statistic->failed) {
        return status_no_memory(st, sizeof *f);
    }
    sqlite3_stmt *s;
    if (connection_prepare(c, sql_add_feature, &s, st) != 0 ||
        connection_bind_integer(c, s, ":build", w->build, st) != 0 ||
        connection_bind_integer(c, s, ":number", f->index, st) != 0 ||
        connection_bind_integer(c, s, ":count", f->count, st) != 0 ||
        connection_bind_real(c, s, ":maximum", (double)f->maximum, st) != 0 ||
        connection_bind_blob(c, s, ":statistic", statistic->data, statistic->length, st) != 0 ||
        connection_bind_text(c, s, ":label", f->label ? f->label : "", st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

static int reserve_places(struct store_dashboard_writer *w, size_t n, struct status *st)
{
    if (n <= w->place_capacity) {
        return 0;
    }
    uint32_t *place = memory_resize(w->place, n, sizeof *place);
    w->place = place ? place : w->place;
    float *value = place ? memory_resize(w->value, n, sizeof *value) : NULL;
    w->value = value ? value : w->value;
    if (!value) {
        return status_no_memory(st, n * (sizeof *place + sizeof *value));
    }
    w->place_capacity = n;
    return 0;
}

/* Few tokens of a text make a feature fire, so its values are kept like a token's features. */
static int encode_along(struct store_dashboard_writer *w, const struct store_example *e,
                        struct status *st)
{
    struct text *blob = &w->store->scratch;
    size_t n = 0;
    text_clear(blob);
    if (reserve_places(w, e->n_tokens, st) != 0) {
        return (int)st->code;
    }
    for (size_t i = 0; i < e->n_tokens; i++) {
        if (e->along[i] != 0.0f) {
            w->place[n] = (uint32_t)i;
            w->value[n++] = e->along[i];
        }
    }
    blob_encode(blob, w->place, w->value, n);
    return blob->failed ? status_no_memory(st, n * sizeof *w->value) : 0;
}

static const char sql_add_example[] =
    "INSERT INTO example (build, number, part, place, text, corpus, document, position, value,"
    " bin_min, bin_max, bin_contains, along) VALUES (:build, :number, :part, :place, :text,"
    " :corpus, :document, :position, :value, :bin_min, :bin_max, :bin_contains, :along)";

static int put_example(struct store_dashboard_writer *w, uint32_t index,
                       const struct store_example *e, struct status *st)
{
    struct connection *c = &w->store->writer;
    const struct text *along = &w->store->scratch;
    sqlite3_stmt *s;
    if (encode_along(w, e, st) != 0 || connection_prepare(c, sql_add_example, &s, st) != 0 ||
        connection_bind_integer(c, s, ":build", w->build, st) != 0 ||
        connection_bind_integer(c, s, ":number", index, st) != 0 ||
        connection_bind_integer(c, s, ":part", e->part, st) != 0 ||
        connection_bind_integer(c, s, ":place", e->place, st) != 0 ||
        connection_bind_integer(c, s, ":text", e->text, st) != 0 ||
        connection_bind_integer(c, s, ":corpus", e->corpus, st) != 0 ||
        connection_bind_integer(c, s, ":document", e->document, st) != 0 ||
        connection_bind_integer(c, s, ":position", e->position, st) != 0 ||
        connection_bind_real(c, s, ":value", (double)e->value, st) != 0 ||
        connection_bind_real(c, s, ":bin_min", (double)e->bin_min, st) != 0 ||
        connection_bind_real(c, s, ":bin_max", (double)e->bin_max, st) != 0 ||
        connection_bind_real(c, s, ":bin_contains", e->bin_contains, st) != 0 ||
        connection_bind_blob(c, s, ":along", along->data, along->length, st) != 0) {
        return (int)st->code;
    }
    return connection_step_done(c, s, st);
}

/* Ends the turn, if one is open. */
static int end_turn(struct store_dashboard_writer *w, int code, struct status *st)
{
    if (w->in_turn == 0) {
        return code;
    }
    w->in_turn = 0;
    return store_write_end(w->store, code, st);
}

int store_dashboard_put(struct store_dashboard_writer *writer, const struct store_feature *feature,
                        const struct store_example *examples, size_t n_examples, struct status *st)
{
    if (writer->in_turn == 0 && store_write_begin(writer->store, st) != 0) {
        return (int)st->code;
    }
    writer->in_turn++;
    int code = put_feature(writer, feature, st);
    code = code ? code : put_label(writer, feature, st);
    if (code == 0 && feature->has_logits) {
        code = dashboards_put_logits(&writer->store->writer, &writer->store->scratch,
                                     writer->source, feature, st);
    }
    for (size_t i = 0; i < n_examples && code == 0; i++) {
        code = put_example(writer, feature->index, &examples[i], st);
    }
    if (code != 0 || writer->in_turn == STEP) {
        code = end_turn(writer, code, st);
        builds_pause();
    }
    return code;
}

static void writer_free(struct store_dashboard_writer *w)
{
    memory_free(w->place);
    memory_free(w->value);
    memory_free(w);
}

int store_dashboard_end(struct store_dashboard_writer *w, struct status *st)
{
    struct status late = {0};
    int code = 0;
    if (w->in_turn == 0 && store_write_begin(w->store, st) != 0) {
        code = (int)st->code;
    } else {
        w->in_turn = 1;
        code = end_turn(w, show_build(&w->store->writer, w, st), st);
    }
    /* What is no longer shown goes; what a failure leaves, the next run removes. */
    (void)builds_remove_hidden(w->store, w->source, &late);
    writer_free(w);
    return code;
}

void store_dashboard_abandon(struct store_dashboard_writer *w)
{
    if (w) {
        struct status st = {0};
        (void)end_turn(w, STATUS_CANCELLED, &st);
        (void)builds_remove(w->store, w->build, &st);
        writer_free(w);
    }
}
