#include "server/api/example.h"

#include "core/base/memory.h"
#include "server/api/record.h"
#include "server/store/explanations.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row that is to be written. */
struct row {
    const struct app *app;
    const struct subject *subject;
    int64_t index;
    const struct store_example *example; /* of our own, else NULL */
    cJSON *line;                         /* imported, else NULL */
    const int32_t *uncounted;            /* [n_uncounted] ids whose values do not count */
    size_t n_uncounted;
    size_t first;   /* 1 where the text begins with <bos>; of neurons, what is known of it ... */
    size_t end;     /* ... up to here, else the text's */
    float max, min; /* of the values that are shown */
    size_t argmax;  /* among them */
    double key;     /* what rows are sorted by */
    size_t place;   /* ties keep the order in which they came */
};

static size_t length(const struct row *r)
{
    return r->end - r->first;
}

/* 0 at the tokens that no statistic counts, as in SAEDashboard. */
static float value_at(const struct row *r, size_t i)
{
    for (size_t k = 0; k < r->n_uncounted; k++) {
        if (r->example->ids[r->first + i] == r->uncounted[k]) {
            return 0;
        }
    }
    return r->example->along[r->first + i];
}

/* --- columns --------------------------------------------------------------------------------- */

static void id(struct emitter *w, const void *record)
{
    const struct row *r = record;
    struct text name = {0};
    text_printf(&name, "%s:%s:%lld:%d:%d", r->subject->model, r->subject->name, (long long)r->index,
                r->example->part, r->example->place);
    emit_string_n(w, name.data ? name.data : "", name.length);
    w->out->failed = w->out->failed || name.failed;
    text_free(&name);
}

static void tokens(struct emitter *w, const void *record)
{
    const struct row *r = record;
    struct text token = {0};
    emit_array(w);
    for (size_t i = 0; i < length(r); i++) {
        text_clear(&token);
        engine_token_text(r->app->engine, r->example->ids[r->first + i], &token);
        emit_string_n(w, token.data ? token.data : "", token.length);
    }
    emit_end_array(w);
    w->out->failed = w->out->failed || token.failed;
    text_free(&token);
}

static void values(struct emitter *w, const void *record)
{
    const struct row *r = record;
    emit_array(w);
    for (size_t i = 0; i < length(r); i++) {
        float value = value_at(r, i);
        if (value == 0) { /* most of them */
            emit_int(w, 0);
        } else {
            emit_rounded(w, (double)value, 5);
        }
    }
    emit_end_array(w);
}

static void data_index(struct emitter *w, const void *record)
{
    char text[32];
    const struct row *r = record;
    (void)snprintf(text, sizeof text, "%lld", (long long)r->example->document);
    emit_string(w, text);
}

static void index_text(struct emitter *w, const void *record)
{
    record_index(w, ((const struct row *)record)->index);
}

static void layer(struct emitter *w, const void *record)
{
    emit_string(w, ((const struct row *)record)->subject->name);
}

static void model_id(struct emitter *w, const void *record)
{
    emit_string(w, ((const struct row *)record)->subject->model);
}

/* The corpus, where there is only one that it can be. */
static void data_source(struct emitter *w, const void *record)
{
    const struct row *r = record;
    cJSON *names = cJSON_Parse(r->subject->dashboard.corpora);
    record_value(w, cJSON_GetArraySize(names) == 1 ? names->child : NULL);
    cJSON_Delete(names);
}

static void max_value(struct emitter *w, const void *record)
{
    emit_rounded(w, (double)((const struct row *)record)->max, 5);
}

static void max_index(struct emitter *w, const void *record)
{
    emit_int(w, (long long)((const struct row *)record)->argmax);
}

static void min_value(struct emitter *w, const void *record)
{
    emit_rounded(w, (double)((const struct row *)record)->min, 5);
}

static void created_at(struct emitter *w, const void *record)
{
    emit_string(w, ((const struct row *)record)->subject->dashboard.made_at);
}

static void bin_min(struct emitter *w, const void *record)
{
    emit_rounded(w, (double)((const struct row *)record)->example->bin_min, 5);
}

static void bin_max(struct emitter *w, const void *record)
{
    emit_rounded(w, (double)((const struct row *)record)->example->bin_max, 5);
}

static void bin_contains(struct emitter *w, const void *record)
{
    emit_double(w, ((const struct row *)record)->example->bin_contains);
}

static void qualifying(struct emitter *w, const void *record)
{
    const struct row *r = record;
    emit_int(w, (long long)r->example->position - (long long)r->first);
}

static const struct record_key columns[] = {
    {"id", "null", id, false},
    {"tokens", "[]", tokens, false},
    {"dataIndex", "null", data_index, false},
    {"index", "null", index_text, true},
    {"layer", "null", layer, true},
    {"modelId", "null", model_id, true},
    {"dataSource", "null", data_source, false},
    {"maxValue", "0", max_value, false},
    {"maxValueTokenIndex", "0", max_index, false},
    {"minValue", "0", min_value, false},
    {"values", "[]", values, false},
    {"dfaValues", "[]", NULL, false},
    {"dfaTargetIndex", "null", NULL, false},
    {"dfaMaxValue", "null", NULL, false},
    {"zQIndices", "[]", NULL, false},
    {"zKIndices", "[]", NULL, false},
    {"zValues", "[]", NULL, false},
    {"creatorId", "null", NULL, false},
    {"createdAt", "null", created_at, false},
    {"lossValues", "[]", NULL, false},
    {"logitContributions", "null", NULL, false},
    {"binMin", "null", bin_min, false},
    {"binMax", "null", bin_max, false},
    {"binContains", "null", bin_contains, false},
    {"qualifyingTokenIndex", "null", qualifying, false},
};

/* --- rows ------------------------------------------------------------------------------------ */

static int by_key(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    if (left->key != right->key) {
        return left->key > right->key ? -1 : 1;
    }
    return left->place < right->place ? -1 : 1;
}

static bool is_of_neurons(const struct row *r)
{
    return r->subject->source && r->subject->source->is_neurons && !r->line;
}

/* Bins alone do not tell the ends of signed values apart. */
static const char *group_name(int part)
{
    return part == 0 ? "top" : part == DASHBOARD_LOWEST ? "lowest" : "interval";
}

static void write_rows(struct emitter *w, struct row *rows, size_t n, size_t limit)
{
    if (n) {
        qsort(rows, n, sizeof *rows, by_key);
    }
    emit_array(w);
    for (size_t i = 0; i < n && i < limit; i++) {
        emit_object(w);
        record_write(w, columns, sizeof columns / sizeof *columns, &rows[i], rows[i].line);
        emit_key(w, "origin");
        emit_string(w, rows[i].line ? "imported" : "here");
        if (is_of_neurons(&rows[i])) {
            emit_key(w, "group");
            emit_string(w, group_name(rows[i].example->part));
        }
        emit_end_object(w);
    }
    emit_end_array(w);
}

/* What is shown of a text's values, and their extremes. */
static void measure(struct row *r)
{
    const struct store_example *e = r->example;
    r->first = e->n_tokens > 0 && e->ids[0] == engine_bos(r->app->engine);
    r->end = e->n_tokens;
    if (is_of_neurons(r)) { /* values that are not known stand as 0 at both ends */
        while (r->first < (size_t)e->position && e->along[r->first] == 0) {
            r->first++;
        }
        while (r->end > (size_t)e->position + 1 && e->along[r->end - 1] == 0) {
            r->end--;
        }
    }
    for (size_t i = 0; i < length(r); i++) {
        float value = value_at(r, i);
        if (i == 0 || value > r->max) {
            r->max = value;
            r->argmax = i;
        }
        r->min = i == 0 || value < r->min ? value : r->min;
    }
    r->key = is_of_neurons(r) ? (double)e->value : (double)r->max;
}

void example_write(struct emitter *w, const struct app *app, const struct subject *s, int64_t index,
                   const struct store_feature_page *page, size_t limit)
{
    int32_t uncounted[ENGINE_UNCOUNTED];
    size_t n_uncounted = engine_uncounted(app->engine, uncounted);
    struct row *rows = memory_zalloc(page->n_examples, sizeof *rows);
    if (!rows) {
        w->out->failed = true;
        return;
    }
    for (size_t i = 0; i < page->n_examples; i++) {
        rows[i] = (struct row){.app = app,
                               .subject = s,
                               .index = index,
                               .example = &page->examples[i],
                               .uncounted = uncounted,
                               .n_uncounted = n_uncounted,
                               .place = i};
        measure(&rows[i]);
    }
    write_rows(w, rows, page->n_examples, limit);
    memory_free(rows);
}

void example_write_minimum(struct emitter *w, const struct store_feature_page *page)
{
    emit_key(w, "minActApprox");
    for (size_t i = 0; i < page->n_examples; i++) {
        if (page->examples[i].part == DASHBOARD_LOWEST) { /* they rise */
            emit_rounded(w, (double)page->examples[i].value, 5);
            return;
        }
    }
    emit_null(w);
}

struct lines {
    const struct app *app;
    const struct subject *subject;
    int64_t index;
    struct row *rows;
    size_t n, capacity;
    struct status st;
};

static int take_line(void *user, const struct store_imported *line)
{
    struct lines *all = user;
    if (all->n == all->capacity) {
        size_t capacity = all->capacity ? 2 * all->capacity : 64;
        struct row *rows = memory_resize(all->rows, capacity, sizeof *rows);
        if (!rows) {
            return status_no_memory(&all->st, capacity * sizeof *rows);
        }
        all->rows = rows;
        all->capacity = capacity;
    }
    struct row *r = &all->rows[all->n];
    *r = (struct row){
        .app = all->app, .subject = all->subject, .index = all->index, .place = all->n};
    if (json_parse(&r->line, line->line, strlen(line->line), "imported activation", &all->st)) {
        return (int)all->st.code;
    }
    const cJSON *max = json_get(r->line, "maxValue");
    r->key = cJSON_IsNumber(max) ? max->valuedouble : 0;
    all->n++;
    return 0;
}

int example_write_imported(struct emitter *w, const struct app *app, const struct subject *s,
                           int64_t index, size_t limit, size_t *n, struct status *st)
{
    struct lines all = {.app = app, .subject = s, .index = index};
    int code = store_imported_examples(app->store, s->model, s->name, index, take_line, &all, st);
    if (all.st.code) {
        *st = all.st;
        code = (int)st->code;
    }
    if (!code) {
        write_rows(w, all.rows, all.n, limit);
    }
    if (n) {
        *n = all.n;
    }
    for (size_t i = 0; i < all.n; i++) {
        cJSON_Delete(all.rows[i].line);
    }
    memory_free(all.rows);
    return code;
}
