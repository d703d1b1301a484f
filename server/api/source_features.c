/* POST /api/source/features: a page of a source's features, sorted and filtered (darkmatter's own).
 *
 * Sorting by label takes the first explanation where there is one, else the automatic label;
 * features without either come last in either order. Of a source that was not indexed nothing is
 * known but explanations and imported lines: density and maximum are null there. */
#include "core/base/memory.h"
#include "server/api/explained.h"
#include "server/api/record.h"
#include "server/api/routes.h"
#include "server/api/subject.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LIMIT_DEFAULT 25
#define LIMIT_MAX 100
#define MATCHES_MAX 1000000 /* of a filter's text: all there are */

enum sort { SORT_INDEX, SORT_DENSITY, SORT_MAX, SORT_LABEL };

struct page {
    enum sort sort;
    bool falling;
    double low, high; /* of the density */
    const char *text; /* NULL: any */
    int explained;    /* 1: only those, 0: only others, -1: any */
    int dead;
    size_t offset, limit;
};

/* What is known of one feature. */
struct item {
    bool there;   /* false: no such feature */
    bool matches; /* the filter's text */
    bool is_explained;
    char *name;  /* explanation or label; owned, NULL if there is none */
    char *label; /* owned, NULL if there is none */
};

struct table {
    const struct app *app;
    const struct subject *subject;
    struct item *items; /* [n] */
    size_t n;
    uint32_t *order; /* [n_order] what passed the filter */
    size_t n_order;
    struct status st;
};

/* --- reading --------------------------------------------------------------------------------- */

static bool grow(struct table *t, size_t n)
{
    if (n <= t->n) {
        return true;
    }
    size_t wanted = n < 2 * t->n ? 2 * t->n : n;
    struct item *items = memory_resize(t->items, wanted, sizeof *items);
    if (!items) {
        status_no_memory(&t->st, wanted * sizeof *items);
        return false;
    }
    memset(items + t->n, 0, (wanted - t->n) * sizeof *items);
    t->items = items;
    t->n = wanted;
    return true;
}

/* The item of an index; NULL if it is none of this source's. */
static struct item *item_at(struct table *t, int64_t index)
{
    const struct sae_source *source = t->subject->source;
    if (index < 0 || index >= (source ? (int64_t)source->d_sae : 1 << 20) ||
        !grow(t, (size_t)index + 1)) {
        return NULL;
    }
    t->items[index].there = true;
    return &t->items[index];
}

static int take_explanation(void *user, const struct store_explanation *e)
{
    struct table *t = user;
    struct item *item = item_at(t, e->index);
    if (item) {
        item->is_explained = true;
        if (!item->name && !(item->name = memory_string(e->description))) {
            return status_no_memory(&t->st, strlen(e->description));
        }
    }
    return (int)t->st.code;
}

static int take_line(void *user, const struct store_imported *line)
{
    struct table *t = user;
    (void)item_at(t, line->index);
    return (int)t->st.code;
}

static int take_label(void *user, const struct store_feature *f)
{
    struct table *t = user;
    struct item *item = *f->label ? item_at(t, f->index) : NULL;
    if (item && !item->label && !(item->label = memory_string(f->label))) {
        return status_no_memory(&t->st, strlen(f->label));
    }
    return (int)t->st.code;
}

static int take_match(void *user, const struct store_match *m)
{
    struct table *t = user;
    struct item *item = item_at(t, m->index);
    if (item) {
        item->matches = true;
    }
    return (int)t->st.code;
}

static int read_all(struct table *t, const struct page *page, struct status *st)
{
    const struct subject *s = t->subject;
    struct store *store = t->app->store;
    if (s->source && !grow(t, s->source->d_sae)) {
        *st = t->st;
        return (int)st->code;
    }
    for (size_t i = 0; s->source && i < s->source->d_sae; i++) {
        t->items[i].there = true;
    }
    int code = store_explanations(store, s->model, s->name, -1, take_explanation, t, st);
    if (!code && !s->source) {
        code = store_imported_features(store, s->model, s->name, -1, take_line, t, st);
    }
    if (!code && s->indexed && page->sort == SORT_LABEL) {
        code = store_visit_features(store, s->row, 0, t->n, take_label, t, st);
    }
    if (!code && page->text) {
        size_t total;
        const char *const names[] = {s->name};
        code = store_search(store, page->text, s->model, names, 1, 0, MATCHES_MAX, take_match, t,
                            &total, st);
    }
    if (t->st.code) {
        *st = t->st;
        code = (int)st->code;
    }
    return code;
}

static void free_table(struct table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        memory_free(t->items[i].name);
        memory_free(t->items[i].label);
    }
    memory_free(t->items);
    memory_free(t->order);
}

/* --- sorting --------------------------------------------------------------------------------- */

static uint32_t count_of(const struct subject *s, size_t i)
{
    return s->indexed && i < s->dashboard.d_sae ? s->dashboard.counts[i] : 0;
}

static double density(const struct subject *s, size_t i)
{
    int64_t tokens = s->indexed ? s->dashboard.tokens : 0;
    return tokens > 0 ? (double)count_of(s, i) / (double)tokens : 0;
}

static bool passes(const struct table *t, const struct page *page, size_t i)
{
    const struct item *item = &t->items[i];
    double d = density(t->subject, i);
    bool dead = t->subject->indexed && count_of(t->subject, i) == 0;
    return item->there && d >= page->low && d <= page->high && (!page->text || item->matches) &&
           (page->explained < 0 || page->explained == (int)item->is_explained) &&
           (page->dead < 0 || page->dead == (int)dead);
}

struct key {
    uint32_t index;
    double number;
    const char *text; /* NULL: none, which goes last */
    bool falling;
};

static int by_key(const void *a, const void *b)
{
    const struct key *left = a, *right = b;
    int order = 0;
    if (left->text && right->text) {
        order = strcasecmp(left->text, right->text);
    } else if (left->text || right->text) {
        return left->text ? -1 : 1;
    } else if (left->number != right->number) {
        order = left->number < right->number ? -1 : 1;
    }
    if (order != 0) {
        return left->falling ? -order : order;
    }
    return left->index < right->index ? -1 : 1;
}

static struct key key_of(const struct table *t, const struct page *page, size_t i)
{
    const struct subject *s = t->subject;
    struct key key = {.index = (uint32_t)i, .falling = page->falling};
    switch (page->sort) {
    case SORT_INDEX:
        key.number = (double)i;
        break;
    case SORT_DENSITY:
        key.number = density(s, i);
        break;
    case SORT_MAX:
        key.number = s->indexed && i < s->dashboard.d_sae ? (double)s->dashboard.maxima[i] : 0;
        break;
    case SORT_LABEL:
        key.text = t->items[i].name ? t->items[i].name : t->items[i].label;
        break;
    }
    return key;
}

static int arrange(struct table *t, const struct page *page, struct status *st)
{
    struct key *keys = memory_alloc(t->n, sizeof *keys);
    t->order = memory_alloc(t->n, sizeof *t->order);
    if (!keys || !t->order) {
        memory_free(keys);
        return status_no_memory(st, t->n * sizeof *keys);
    }
    for (size_t i = 0; i < t->n; i++) {
        if (passes(t, page, i)) {
            keys[t->n_order++] = key_of(t, page, i);
        }
    }
    qsort(keys, t->n_order, sizeof *keys, by_key);
    for (size_t i = 0; i < t->n_order; i++) {
        t->order[i] = keys[i].index;
    }
    memory_free(keys);
    return STATUS_OK;
}

/* --- replies --------------------------------------------------------------------------------- */

static int write_row(struct emitter *w, struct table *t, uint32_t index, struct status *st)
{
    const struct subject *s = t->subject;
    const struct item *item = &t->items[index];
    int code = STATUS_OK;
    if (s->indexed && !item->label) {
        code = store_visit_features(t->app->store, s->row, index, 1, take_label, t, st);
    }
    emit_object(w);
    emit_key(w, "index");
    record_index(w, index);
    emit_key(w, "frac_nonzero");
    if (s->indexed) {
        emit_rounded(w, subject_fraction(s, index), 5);
        emit_key(w, "count");
        emit_int(w, count_of(s, index));
        emit_key(w, "maxActApprox");
        emit_rounded(w, (double)s->dashboard.maxima[index], 5);
    } else {
        static const char *const unknown[] = {"count", "maxActApprox", NULL};
        emit_null(w);
        record_blank(w, unknown, "null");
    }
    emit_key(w, "label");
    emit_string(w, item->label ? item->label : "");
    emit_key(w, "explanation");
    if (item->is_explained && item->name) {
        emit_string(w, item->name);
    } else {
        emit_null(w);
    }
    emit_end_object(w);
    return code;
}

static int reply(struct exchange *x, struct table *t, const struct page *page, struct status *st)
{
    struct emitter w = {.out = &x->response.body};
    size_t first = page->offset < t->n_order ? page->offset : t->n_order;
    size_t n = t->n_order - first < page->limit ? t->n_order - first : page->limit;
    int code = STATUS_OK;
    emit_object(&w);
    emit_key(&w, "modelId");
    emit_string(&w, t->subject->model);
    emit_key(&w, "source");
    emit_string(&w, t->subject->name);
    emit_key(&w, "indexed");
    emit_bool(&w, t->subject->indexed);
    emit_key(&w, "total");
    emit_int(&w, (long long)t->n_order);
    emit_key(&w, "offset");
    emit_int(&w, (long long)page->offset);
    emit_key(&w, "features");
    emit_array(&w);
    for (size_t i = first; i < first + n && !code; i++) {
        code = write_row(&w, t, t->order[i], st);
    }
    emit_end_array(&w);
    emit_key(&w, "hasMore");
    emit_bool(&w, first + n < t->n_order);
    emit_key(&w, "nextOffset");
    emit_int(&w, (long long)first + (long long)n);
    emit_end_object(&w);
    return code;
}

/* --- requests -------------------------------------------------------------------------------- */

/* The number of the word among the NULL-ended list; the first if the field is absent. */
static int read_word(struct fields *f, const char *name, const char *const *words)
{
    const char *word = fields_string(f, name);
    struct text list = {0};
    for (int i = 0; words[i] && word; i++) {
        if (strcmp(word, words[i]) == 0) {
            text_free(&list);
            return i;
        }
        text_printf(&list, "%s\"%s\"", i ? ", " : "", words[i]);
    }
    if (word && !f->st.code) {
        status_set(&f->st, STATUS_INVALID, "%s: expected one of %s, found \"%.40s\"", name,
                   list.data ? list.data : "", word);
    }
    text_free(&list);
    return 0;
}

static double read_fraction(struct fields *f, const char *name, double fallback)
{
    const cJSON *value = fields_get(f, name);
    if (value && !cJSON_IsNumber(value)) {
        status_set(&f->st, STATUS_UNPROCESSABLE, "%s: expected a number, found %s", name,
                   fields_kind(value));
    }
    return value && !f->st.code ? value->valuedouble : fallback;
}

static int read_choice(struct fields *f, const char *name)
{
    return fields_get(f, name) ? (int)fields_bool(f, name, false) : -1;
}

static void read_page(struct page *page, struct fields *f)
{
    static const char *const sorts[] = {"index", "density", "max", "label", NULL};
    static const char *const orders[] = {"asc", "desc", NULL};
    page->sort = (enum sort)read_word(f, "sort", sorts);
    page->falling = read_word(f, "order", orders) == 1;
    page->offset = (size_t)fields_integer(f, "offset", 0, 1LL << 40, 0);
    page->limit = (size_t)fields_integer(f, "limit", 1, LIMIT_MAX, LIMIT_DEFAULT);
    const cJSON *filter = fields_get(f, "filter");
    if (filter && !cJSON_IsObject(filter)) {
        status_set(&f->st, STATUS_UNPROCESSABLE, "filter: expected an object, found %s",
                   fields_kind(filter));
    }
    struct fields inner = {.body = filter, .st = f->st};
    page->low = read_fraction(&inner, "min_density", 0);
    page->high = read_fraction(&inner, "max_density", 1);
    page->text = fields_string(&inner, "text");
    page->text = page->text && *page->text ? page->text : NULL;
    page->explained = read_choice(&inner, "explained");
    page->dead = read_choice(&inner, "dead");
    if (inner.st.code && !f->st.code) {
        f->st = inner.st;
        (void)status_prefix(&f->st, "filter");
    }
}

enum http_next api_source_features(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    struct subject s;
    struct page page;
    struct table t = {.app = x->app, .subject = &s};
    subject_open_fields(&s, x->app, &f);
    read_page(&page, &f);
    if (!f.st.code && !read_all(&t, &page, &f.st) && !arrange(&t, &page, &f.st)) {
        (void)reply(x, &t, &page, &f.st);
    }
    free_table(&t);
    subject_close(&s);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}
