#include "core/dashboard/neurons.h"

#include "core/base/bytes.h"

#include <math.h>
#include <string.h>

enum { EXPONENT_MIN = -30, GROUP = 4 };

/* --- order ------------------------------------------------------------------------------------ */

static int compare_where(const struct neuron_example *a, const struct neuron_example *b)
{
    if (a->place.corpus != b->place.corpus) {
        return a->place.corpus < b->place.corpus ? -1 : 1;
    }
    if (a->place.document != b->place.document) {
        return a->place.document < b->place.document ? -1 : 1;
    }
    return (a->position > b->position) - (a->position < b->position);
}

typedef bool before_fn(const struct neuron_example *a, const struct neuron_example *b);

static bool is_higher(const struct neuron_example *a, const struct neuron_example *b)
{
    return a->value > b->value || (!(a->value < b->value) && compare_where(a, b) < 0);
}

static bool is_lower(const struct neuron_example *a, const struct neuron_example *b)
{
    return a->value < b->value || (!(a->value > b->value) && compare_where(a, b) < 0);
}

static bool is_drawn_before(const struct neuron_example *a, const struct neuron_example *b)
{
    return a->draw < b->draw || (a->draw == b->draw && compare_where(a, b) < 0);
}

/* Puts e, which belongs there, into a list of at most `capacity`. */
static void keep(struct neuron_example *list, uint32_t *n, uint32_t capacity,
                 const struct neuron_example *e, before_fn *before)
{
    uint32_t at = *n < capacity ? (*n)++ : capacity - 1;
    for (; at > 0 && before(e, &list[at - 1]); at--) {
        list[at] = list[at - 1];
    }
    list[at] = *e;
}

static bool belongs(const struct neuron_example *list, uint32_t n, uint32_t capacity,
                    const struct neuron_example *e, before_fn *before)
{
    return n < capacity || before(e, &list[capacity - 1]);
}

/* --- bins ------------------------------------------------------------------------------------- */

static double bin_of(const struct neuron *n, double value)
{
    return floor(value * n->scale);
}

static size_t group_of(const struct neuron *n, double bin)
{
    return (size_t)(floor(bin / GROUP) - floor(n->low / GROUP));
}

/* Two bins become one, and so do two groups. */
static void halve(struct neuron *n)
{
    struct neuron old = *n;
    double first_group = floor(old.low / GROUP);
    n->exponent++;
    n->scale /= 2;
    n->low = floor(old.low / 2);
    n->n_bins = 0;
    memset(n->bin, 0, sizeof n->bin);
    memset(n->n_samples, 0, sizeof n->n_samples);
    for (uint32_t i = 0; i < old.n_bins; i++) {
        size_t bin = (size_t)(floor((old.low + i) / 2) - n->low);
        n->bin[bin] += old.bin[i];
        n->n_bins = (uint32_t)bin + 1;
    }
    for (size_t g = 0; g < NEURONS_GROUPS; g++) {
        size_t to = (size_t)(floor((first_group + (double)g) / 2) - floor(n->low / GROUP));
        for (uint32_t s = 0; s < old.n_samples[g]; s++) {
            if (belongs(n->samples[to], n->n_samples[to], DASHBOARD_SAMPLES, &old.samples[g][s],
                        is_drawn_before)) {
                keep(n->samples[to], &n->n_samples[to], DASHBOARD_SAMPLES, &old.samples[g][s],
                     is_drawn_before);
            }
        }
    }
}

/* Makes the bins begin at `low`, which is below. */
static void extend_down(struct neuron *n, double low)
{
    size_t by = (size_t)(n->low - low);
    size_t groups = (size_t)(floor(n->low / GROUP) - floor(low / GROUP));
    memmove(n->bin + by, n->bin, n->n_bins * sizeof n->bin[0]);
    memset(n->bin, 0, by * sizeof n->bin[0]);
    memmove(n->samples + groups, n->samples, (NEURONS_GROUPS - groups) * sizeof n->samples[0]);
    memmove(n->n_samples + groups, n->n_samples,
            (NEURONS_GROUPS - groups) * sizeof n->n_samples[0]);
    memset(n->n_samples, 0, groups * sizeof n->n_samples[0]);
    n->n_bins += (uint32_t)by;
    n->low = low;
}

/* The value's bin, once there is one for it. */
static double make_room(struct neuron *n, double value)
{
    if (n->n_bins == 0) {
        n->exponent = EXPONENT_MIN;
        n->scale = ldexp(1, -EXPONENT_MIN);
        n->low = bin_of(n, value);
        n->n_bins = 1;
        return n->low;
    }
    for (;;) {
        double bin = bin_of(n, value), last = n->low + n->n_bins - 1;
        double from = bin < n->low ? bin : n->low, to = bin > last ? bin : last;
        if (to - from < NEURONS_BINS) {
            if (from < n->low) {
                extend_down(n, from);
            }
            n->n_bins = (uint32_t)(to - from) + 1;
            return bin;
        }
        halve(n);
    }
}

/* --- counting --------------------------------------------------------------------------------- */

/* splitmix64's finaliser (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* The values around the example's token; nothing in front of it that is a mark of its own. */
static void fill_along(struct neuron_example *e, const struct neurons_text *t, const float *values,
                       size_t d)
{
    int32_t first = e->position < NEURONS_BEFORE ? 0 : e->position - NEURONS_BEFORE;
    size_t n = t->n - (size_t)first;
    e->first = first;
    e->n_along = (uint32_t)(n < NEURONS_ALONG ? n : NEURONS_ALONG);
    for (uint32_t i = 0; i < e->n_along; i++) {
        e->along[i] = values[((size_t)first + i) * d];
    }
}

static void count(struct neuron *n, struct neuron_example *e, const struct neurons_text *t,
                  const float *values, size_t d)
{
    double bin = make_room(n, (double)e->value);
    size_t group = group_of(n, bin);
    n->bin[(size_t)(bin - n->low)]++;
    n->minimum = n->count == 0 || e->value < n->minimum ? e->value : n->minimum;
    n->maximum = n->count == 0 || e->value > n->maximum ? e->value : n->maximum;
    n->count++;
    bool top = belongs(n->top, n->n_top, DASHBOARD_TOP, e, is_higher);
    bool bottom = belongs(n->bottom, n->n_bottom, DASHBOARD_TOP, e, is_lower);
    bool sample =
        belongs(n->samples[group], n->n_samples[group], DASHBOARD_SAMPLES, e, is_drawn_before);
    if (!top && !bottom && !sample) {
        return;
    }
    fill_along(e, t, values, d);
    if (top) {
        keep(n->top, &n->n_top, DASHBOARD_TOP, e, is_higher);
    }
    if (bottom) {
        keep(n->bottom, &n->n_bottom, DASHBOARD_TOP, e, is_lower);
    }
    if (sample) {
        keep(n->samples[group], &n->n_samples[group], DASHBOARD_SAMPLES, e, is_drawn_before);
    }
}

static bool is_ignored(int32_t id, const struct neurons_text *t)
{
    for (size_t i = 0; i < t->n_ignored; i++) {
        if (t->ignored[i] == id) {
            return true;
        }
    }
    return false;
}

/* Neuron by neuron: what is known of one stays in the processor's cache along the text. */
void neurons_add(struct neuron *neurons, size_t d, const struct neurons_text *t)
{
    uint64_t place = mix(mix((uint64_t)t->place.corpus) ^ (uint64_t)t->place.document);
    for (size_t i = 0; i < d; i++) {
        for (size_t p = 0; p < t->n; p++) {
            float value = t->values[p * d + i];
            if (!isfinite(value) || value == 0.0f || is_ignored(t->ids[p], t)) {
                continue;
            }
            struct neuron_example e = {.value = value,
                                       .token = t->ids[p],
                                       .position = (int32_t)p,
                                       .place = t->place,
                                       .draw = mix(mix(place ^ p) ^ i)};
            count(&neurons[i], &e, t, t->values + i, d);
        }
    }
}

/* --- results ---------------------------------------------------------------------------------- */

void neurons_histogram(const struct neuron *n, struct histogram *h)
{
    *h = (struct histogram){.n_bins = n->n_bins,
                            .low = (float)ldexp(n->low, n->exponent),
                            .high = (float)ldexp(n->low + n->n_bins, n->exponent)};
    memcpy(h->count, n->bin, n->n_bins * sizeof n->bin[0]);
}

/* The samples of some groups as if they were one. */
static void draw(const struct neuron *n, size_t from, size_t to, struct neurons_interval *out)
{
    struct neuron_example drawn[DASHBOARD_SAMPLES];
    uint32_t n_drawn = 0;
    for (size_t g = from; g < to; g++) {
        for (uint32_t s = 0; s < n->n_samples[g]; s++) {
            const struct neuron_example *e = &n->samples[g][s];
            if (belongs(drawn, n_drawn, DASHBOARD_SAMPLES, e, is_drawn_before)) {
                keep(drawn, &n_drawn, DASHBOARD_SAMPLES, e, is_drawn_before);
            }
        }
    }
    for (uint32_t s = 0; s < n_drawn; s++) {
        keep(out->samples, &out->n, DASHBOARD_SAMPLES, &drawn[s], is_higher);
    }
}

void neurons_interval(const struct neuron *n, int k, struct neurons_interval *out)
{
    double first = floor(n->low / GROUP);
    size_t groups = n->n_bins ? group_of(n, n->low + n->n_bins - 1) + 1 : 0;
    size_t from = groups * (size_t)k / DASHBOARD_INTERVALS;
    size_t to = groups * ((size_t)k + 1) / DASHBOARD_INTERVALS;
    *out = (struct neurons_interval){.low = ldexp((first + (double)from) * GROUP, n->exponent),
                                     .high = ldexp((first + (double)to) * GROUP, n->exponent)};
    for (uint32_t i = 0; i < n->n_bins; i++) {
        size_t group = group_of(n, n->low + i);
        out->count += group >= from && group < to ? n->bin[i] : 0;
    }
    draw(n, from, to, out);
}

/* --- as bytes --------------------------------------------------------------------------------- */

/* Only what is filled: the head, the bins, then each list as its length and its examples, of which
 * each is the struct up to `along` and as many values as it has. */
static void put_list(struct text *out, const struct neuron_example *list, uint32_t n)
{
    bytes_put(out, &n, sizeof n);
    for (uint32_t i = 0; i < n; i++) {
        bytes_put(out, &list[i], offsetof(struct neuron_example, along));
        bytes_put(out, list[i].along, list[i].n_along * sizeof list[i].along[0]);
    }
}

void neurons_encode(const struct neuron *n, struct text *out)
{
    bytes_put(out, &n->count, sizeof n->count);
    bytes_put(out, &n->minimum, sizeof n->minimum);
    bytes_put(out, &n->maximum, sizeof n->maximum);
    bytes_put(out, &n->exponent, sizeof n->exponent);
    bytes_put(out, &n->n_bins, sizeof n->n_bins);
    bytes_put(out, &n->low, sizeof n->low);
    bytes_put(out, n->bin, n->n_bins * sizeof n->bin[0]);
    put_list(out, n->top, n->n_top);
    put_list(out, n->bottom, n->n_bottom);
    for (size_t g = 0; g < NEURONS_GROUPS; g++) {
        put_list(out, n->samples[g], n->n_samples[g]);
    }
}

static bool get_list(struct bytes *r, struct neuron_example *list, uint32_t *n, uint32_t capacity)
{
    if (!bytes_get(r, n, sizeof *n) || *n > capacity) {
        return false;
    }
    for (uint32_t i = 0; i < *n; i++) {
        struct neuron_example *e = &list[i];
        if (!bytes_get(r, e, offsetof(struct neuron_example, along)) ||
            e->n_along > NEURONS_ALONG || e->first < 0 || e->position < e->first ||
            (uint32_t)(e->position - e->first) >= e->n_along ||
            !bytes_get(r, e->along, e->n_along * sizeof e->along[0])) {
            return false;
        }
    }
    return true;
}

/* Bins are numbered by integers. Values that differ have numbers that differ by a 2^24th of
 * themselves, so where there are several bins the numbers are below 50 * 2^24 and exact. */
static bool is_first_bin(const struct neuron *n)
{
    return isfinite(n->low) && floor(n->low) == n->low &&
           (n->n_bins <= 1 || fabs(n->low) <= 0x1p50);
}

bool neurons_decode(struct neuron *n, const void *bytes, size_t size)
{
    struct bytes r = {bytes, size};
    *n = (struct neuron){0};
    if (!bytes_get(&r, &n->count, sizeof n->count) ||
        !bytes_get(&r, &n->minimum, sizeof n->minimum) ||
        !bytes_get(&r, &n->maximum, sizeof n->maximum) ||
        !bytes_get(&r, &n->exponent, sizeof n->exponent) ||
        !bytes_get(&r, &n->n_bins, sizeof n->n_bins) || !bytes_get(&r, &n->low, sizeof n->low) ||
        n->n_bins > NEURONS_BINS || n->exponent < EXPONENT_MIN || n->exponent > 128 ||
        !is_first_bin(n) || !bytes_get(&r, n->bin, n->n_bins * sizeof n->bin[0]) ||
        !get_list(&r, n->top, &n->n_top, DASHBOARD_TOP) ||
        !get_list(&r, n->bottom, &n->n_bottom, DASHBOARD_TOP)) {
        return false;
    }
    n->scale = ldexp(1, -n->exponent);
    for (size_t g = 0; g < NEURONS_GROUPS; g++) {
        if (!get_list(&r, n->samples[g], &n->n_samples[g], DASHBOARD_SAMPLES)) {
            return false;
        }
    }
    return r.left == 0;
}
