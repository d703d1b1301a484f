#include "core/dashboard/dashboard.h"

#include "core/base/memory.h"

#include <float.h>
#include <string.h>

struct totals {
    int64_t documents, tokens, activations;
};

struct dashboard {
    uint32_t first;
    size_t n;
    uint64_t seed;
    int32_t ignored[DASHBOARD_IGNORED];
    size_t n_ignored;
    struct dashboard_feature *features; /* [n] untouched pages stay with the system */
    size_t bytes;
    int64_t context;
    struct totals pass[2];
    int turn; /* 0 or 1: which pass */
};

size_t dashboard_chunk(uint64_t bytes)
{
    uint64_t n = bytes / sizeof(struct dashboard_feature) / DASHBOARD_STEP * DASHBOARD_STEP;
    return n < DASHBOARD_STEP ? DASHBOARD_STEP : n > UINT32_MAX ? UINT32_MAX : (size_t)n;
}

int dashboard_create(struct dashboard **dashboard, const struct dashboard_options *o,
                     struct status *st)
{
    *dashboard = NULL;
    if (o->n == 0 || o->n_ignored > DASHBOARD_IGNORED || o->n > (size_t)UINT32_MAX - o->first) {
        return status_set(st, STATUS_INTERNAL,
                          "dashboard: expected 1 to %u features and at most %d ignored ids, found "
                          "%zu and %zu",
                          UINT32_MAX - o->first, DASHBOARD_IGNORED, o->n, o->n_ignored);
    }
    struct dashboard *d = memory_zalloc(1, sizeof *d);
    size_t bytes;
    if (!d || !memory_multiply(o->n, sizeof *d->features, &bytes)) {
        memory_free(d);
        return status_no_memory(st, sizeof *d);
    }
    d->features = memory_pages(bytes);
    if (!d->features) {
        memory_free(d);
        return status_no_memory(st, bytes);
    }
    d->bytes = bytes;
    d->first = o->first;
    d->n = o->n;
    d->seed = o->seed;
    d->n_ignored = o->n_ignored;
    if (o->n_ignored) {
        memcpy(d->ignored, o->ignored, o->n_ignored * sizeof *o->ignored);
    }
    *dashboard = d;
    return STATUS_OK;
}

void dashboard_destroy(struct dashboard *d)
{
    if (d) {
        memory_free_pages(d->features, d->bytes);
        memory_free(d);
    }
}

static bool is_ignored(int32_t id, const int32_t *ignored, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ignored[i] == id) {
            return true;
        }
    }
    return false;
}

int64_t dashboard_counted(const int32_t *ids, size_t n, const int32_t *ignored, size_t n_ignored)
{
    int64_t counted = 0;
    for (size_t i = 0; i < n; i++) {
        counted += !is_ignored(ids[i], ignored, n_ignored);
    }
    return counted;
}

/* --- order ------------------------------------------------------------------------------------ */

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* By place, then position: below 0 if a comes first. */
static int compare_where(const struct dashboard_example *a, const struct dashboard_example *b)
{
    int order = compare_numbers(a->place.corpus, b->place.corpus);
    order = order ? order : compare_numbers(a->place.document, b->place.document);
    return order ? order : compare_numbers(a->position, b->position);
}

static bool is_higher(const struct dashboard_example *a, const struct dashboard_example *b)
{
    return a->value > b->value || (!(a->value < b->value) && compare_where(a, b) < 0);
}

static bool is_drawn_before(const struct dashboard_example *a, const struct dashboard_example *b)
{
    return a->draw < b->draw || (a->draw == b->draw && compare_where(a, b) < 0);
}

/* Puts e where it belongs in a list of at most `capacity`; false if it does not belong there. */
static bool
keep(struct dashboard_example *list, size_t *n, size_t capacity, const struct dashboard_example *e,
     bool (*before)(const struct dashboard_example *a, const struct dashboard_example *b))
{
    if (*n == capacity && !before(e, &list[capacity - 1])) {
        return false;
    }
    size_t at = *n < capacity ? (*n)++ : capacity - 1;
    for (; at > 0 && before(e, &list[at - 1]); at--) {
        list[at] = list[at - 1];
    }
    list[at] = *e;
    return true;
}

/* --- the two passes --------------------------------------------------------------------------- */

/* splitmix64's finaliser (Steele, Lea, Flood 2014): every bit of the input moves every bit of the
 * output. */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static void count(struct dashboard_feature *f, const struct dashboard_text *t,
                  const struct dashboard_example *at)
{
    float value = at->value;
    f->minimum = f->count == 0 || value < f->minimum ? value : f->minimum;
    f->maximum = value > f->maximum ? value : f->maximum;
    f->count += (int64_t)t->n_places;
    f->sum += (double)value * (double)t->n_places;
    for (size_t p = 0; p < t->n_places; p++) {
        struct dashboard_example e = *at;
        e.place = t->places[p];
        if (!keep(f->top, &f->n_top, DASHBOARD_TOP, &e, is_higher)) {
            break; /* nor do the places behind this one */
        }
    }
}

double dashboard_edge(const struct dashboard_feature *f, int i)
{
    return i == DASHBOARD_INTERVALS ? (double)f->maximum
                                    : (double)f->maximum * i / DASHBOARD_INTERVALS;
}

static void sort(struct dashboard_feature *f, const struct dashboard_text *t,
                 const struct dashboard_example *at, uint64_t seed, uint32_t feature)
{
    int i = 0;
    while (i < DASHBOARD_INTERVALS - 1 && (double)at->value > dashboard_edge(f, i + 1)) {
        i++;
    }
    f->in_interval[i] += (int64_t)t->n_places;
    histogram_add(&f->histogram, at->value, (uint32_t)t->n_places);
    for (size_t p = 0; p < t->n_places; p++) {
        struct dashboard_example e = *at;
        e.place = t->places[p];
        e.draw = mix(
            mix(mix(mix(seed ^ feature) ^ (uint64_t)e.place.corpus) ^ (uint64_t)e.place.document) ^
            (uint64_t)e.position);
        (void)keep(f->samples[i], &f->n_samples[i], DASHBOARD_SAMPLES, &e, is_drawn_before);
    }
}

/* The first entry of the row, at or behind start, whose feature is `first` or more. */
static size_t find_entry(const struct sparse *rows, size_t row, uint32_t first)
{
    size_t low = rows->start[row], high = rows->start[row + 1];
    while (first && low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows->index[middle] < first) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void dashboard_add(struct dashboard *d, const struct dashboard_text *t)
{
    struct totals *totals = &d->pass[d->turn];
    totals->documents += (int64_t)t->n_places;
    d->context = (int64_t)t->n > d->context ? (int64_t)t->n : d->context;
    for (size_t i = 0; i < t->n; i++) {
        if (is_ignored(t->ids[i], d->ignored, d->n_ignored)) {
            continue;
        }
        totals->tokens += (int64_t)t->n_places;
        struct dashboard_example at = {.token = t->ids[i], .position = (int32_t)i, .text = t->text};
        for (size_t e = find_entry(t->rows, i, d->first);
             e < t->rows->start[i + 1] && t->rows->index[e] - d->first < d->n; e++) {
            at.value = t->rows->value[e];
            if (!(at.value > 0.0f && at.value <= FLT_MAX)) {
                continue;
            }
            uint32_t feature = t->rows->index[e];
            totals->activations += (int64_t)t->n_places;
            if (d->turn == 0) {
                count(&d->features[feature - d->first], t, &at);
            } else {
                sort(&d->features[feature - d->first], t, &at, d->seed, feature);
            }
        }
    }
}

void dashboard_turn(struct dashboard *d)
{
    d->turn = 1;
    for (size_t i = 0; i < d->n; i++) {
        struct dashboard_feature *f = &d->features[i];
        if (f->count) { /* pages of dead features stay untouched */
            histogram_start(&f->histogram, f->minimum, f->maximum);
        }
    }
}

/* Each list of samples into the order of the top list. */
static void order_samples(struct dashboard_feature *f)
{
    for (int i = 0; i < DASHBOARD_INTERVALS; i++) {
        struct dashboard_example drawn[DASHBOARD_SAMPLES] = {{0}};
        size_t n = 0;
        for (size_t s = 0; s < f->n_samples[i]; s++) {
            (void)keep(drawn, &n, DASHBOARD_SAMPLES, &f->samples[i][s], is_higher);
        }
        memcpy(f->samples[i], drawn, n * sizeof *drawn);
    }
}

int dashboard_finish(struct dashboard *d, struct status *st)
{
    const struct totals *a = &d->pass[0], *b = &d->pass[1];
    if (a->documents != b->documents || a->tokens != b->tokens ||
        a->activations != b->activations) {
        return status_set(st, STATUS_BUSY,
                          "the indexed texts changed while they were counted: first %lld documents "
                          "with %lld activations, then %lld with %lld",
                          (long long)a->documents, (long long)a->activations,
                          (long long)b->documents, (long long)b->activations);
    }
    for (size_t i = 0; i < d->n; i++) {
        if (d->features[i].count) {
            order_samples(&d->features[i]);
        }
    }
    return STATUS_OK;
}

/* --- results ---------------------------------------------------------------------------------- */

const struct dashboard_feature *dashboard_feature(const struct dashboard *d, size_t i)
{
    return &d->features[i];
}

int64_t dashboard_documents(const struct dashboard *d)
{
    return d->pass[0].documents;
}

int64_t dashboard_tokens(const struct dashboard *d)
{
    return d->pass[0].tokens;
}

int64_t dashboard_context(const struct dashboard *d)
{
    return d->context;
}

double dashboard_share(const struct dashboard *d, const struct dashboard_feature *f, int i)
{
    int64_t n = f->in_interval[i] + (i == 0 ? d->pass[0].tokens - f->count : 0);
    return d->pass[0].tokens ? (double)n / (double)d->pass[0].tokens : 0.0;
}
