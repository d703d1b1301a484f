#include "core/dashboard/neurons.h"

#include "core/base/memory.h"
#include "tests/test.h"

#include <stdlib.h>

enum { D = 7, T = 40, TEXTS = 60, BOS = 2 };

struct texts {
    int32_t ids[TEXTS][T];
    float values[TEXTS][T * D];
};

static uint64_t state = 1;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) / 9007199254740992.0;
}

/* Neurons of several shapes: small and large scales, one sign only, far from 0, rare extremes, one
 * constant, one that is 0 everywhere. */
static struct texts *make_texts(void)
{
    struct texts *all = malloc(sizeof *all);
    for (int x = 0; x < TEXTS; x++) {
        for (int t = 0; t < T; t++) {
            all->ids[x][t] = t == 0 ? BOS : (int32_t)(10 + 90 * uniform());
            double v = uniform() + uniform() + uniform() - 1.5;
            float row[D] = {(float)v,
                            (float)(v * 1e-6),
                            (float)(fabs(v) * 3000 + 1),
                            (float)(-500 + v),
                            (float)(uniform() < 0.01 ? v * 1e4 : v * 0.01),
                            -0.25f,
                            0.0f};
            memcpy(&all->values[x][t * D], row, sizeof row);
        }
    }
    all->values[3][5 * D] = (float)NAN;
    all->values[4][5 * D] = (float)INFINITY;
    return all;
}

static void add(struct neuron *n, const struct texts *all, int x)
{
    static const int32_t ignored[] = {BOS, 0};
    neurons_add(n, D,
                &(struct neurons_text){.ids = all->ids[x],
                                       .values = all->values[x],
                                       .n = T,
                                       .place = {x / 20, x % 20},
                                       .ignored = ignored,
                                       .n_ignored = 2});
}

static bool counts(const struct texts *all, int x, int t, size_t i)
{
    float v = all->values[x][(size_t)t * D + i];
    return all->ids[x][t] != BOS && isfinite(v) && v != 0.0f;
}

struct seen {
    float value;
    int at;
};

static int falling(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    return x->value != y->value ? (x->value > y->value ? -1 : 1) : x->at - y->at;
}

static int rising(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    return x->value != y->value ? (x->value < y->value ? -1 : 1) : x->at - y->at;
}

static size_t gather(const struct texts *all, size_t i, struct seen *seen)
{
    size_t n = 0;
    for (int x = 0; x < TEXTS; x++) {
        for (int t = 0; t < T; t++) {
            if (counts(all, x, t, i)) {
                seen[n++] = (struct seen){all->values[x][(size_t)t * D + i], x * T + t};
            }
        }
    }
    return n;
}

static void check_list(const struct texts *all, size_t i, const struct neuron_example *list,
                       size_t n, const struct seen *want)
{
    for (size_t k = 0; k < n; k++) {
        int x = want[k].at / T, t = want[k].at % T;
        const struct neuron_example *e = &list[k];
        CHECK(e->value == want[k].value && e->position == t && e->token == all->ids[x][t]);
        CHECK(e->place.corpus == x / 20 && e->place.document == x % 20);
        CHECK(e->first == (t < NEURONS_BEFORE ? 0 : t - NEURONS_BEFORE));
        CHECK(e->n_along ==
              (uint32_t)(T - e->first < NEURONS_ALONG ? T - e->first : NEURONS_ALONG));
        for (uint32_t a = 0; a < e->n_along; a++) {
            float v = all->values[x][((size_t)e->first + a) * D + i];
            CHECK(e->along[a] == v || (isnan(v) && isnan(e->along[a])));
        }
    }
}

static void finds_both_ends_and_the_bins_as_counted_again(void)
{
    struct texts *all = make_texts();
    struct neuron *n = calloc(D, sizeof *n);
    static struct seen seen[TEXTS * T];
    for (int x = 0; x < TEXTS; x++) {
        add(n, all, x);
    }
    for (size_t i = 0; i < D; i++) {
        size_t total = gather(all, i, seen), most = total < 20 ? total : 20;
        CHECK(n[i].count == (int64_t)total && n[i].n_top == most && n[i].n_bottom == most);
        qsort(seen, total, sizeof *seen, rising);
        check_list(all, i, n[i].bottom, most, seen);
        CHECK(total == 0 || n[i].minimum == seen[0].value);
        qsort(seen, total, sizeof *seen, falling);
        check_list(all, i, n[i].top, most, seen);
        CHECK(total == 0 || n[i].maximum == seen[0].value);

        struct histogram h;
        neurons_histogram(&n[i], &h);
        double width = ldexp(1, n[i].exponent), low = floor((double)n[i].minimum / width);
        uint32_t sum = 0;
        for (size_t b = 0; b < h.n_bins; b++) {
            uint32_t inside = 0;
            for (size_t k = 0; k < total; k++) {
                inside += floor((double)seen[k].value / width) == low + (double)b;
            }
            CHECK(h.count[b] == inside);
            sum += inside;
        }
        CHECK(sum == total && h.n_bins <= 50);
        if (total && n[i].minimum < n[i].maximum) { /* the finest bins that suffice */
            double half = width / 2;
            CHECK(floor((double)n[i].maximum / half) - floor((double)n[i].minimum / half) >= 50);
            CHECK((double)h.low <= (double)n[i].minimum && (double)n[i].maximum < (double)h.high);
        }
        int64_t in_intervals = 0;
        for (int k = 0; k < DASHBOARD_INTERVALS; k++) {
            struct neurons_interval interval;
            neurons_interval(&n[i], k, &interval);
            int64_t inside = 0;
            for (size_t s = 0; s < total; s++) {
                inside +=
                    (double)seen[s].value >= interval.low && (double)seen[s].value < interval.high;
            }
            CHECK(interval.count == inside && interval.n == (inside < 5 ? inside : 5));
            for (uint32_t s = 0; s < interval.n; s++) {
                double v = (double)interval.samples[s].value;
                CHECK(v >= interval.low && v < interval.high);
                CHECK(s == 0 || interval.samples[s - 1].value >= interval.samples[s].value);
            }
            in_intervals += inside;
        }
        CHECK(in_intervals == (int64_t)total);
    }
    free(n);
    free(all);
}

static bool same(const struct neuron *a, const struct neuron *b)
{
    struct text x = {0}, y = {0};
    neurons_encode(a, &x);
    neurons_encode(b, &y);
    bool equal = x.length == y.length && memcmp(x.data, y.data, x.length) == 0;
    text_free(&x);
    text_free(&y);
    return equal;
}

/* Another order, and a run that ends and goes on behind every text. */
static void does_not_depend_on_order_or_interruptions(void)
{
    struct texts *all = make_texts();
    struct neuron *straight = calloc(D, sizeof *straight), *broken = calloc(D, sizeof *broken);
    for (int x = 0; x < TEXTS; x++) {
        add(straight, all, x);
        add(broken, all, (x * 37 + 11) % TEXTS);
        for (size_t i = 0; i < D; i++) {
            struct text blob = {0};
            neurons_encode(&broken[i], &blob);
            memset(&broken[i], 0xA5, sizeof broken[i]);
            CHECK(neurons_decode(&broken[i], blob.data, blob.length));
            text_free(&blob);
        }
    }
    for (size_t i = 0; i < D; i++) {
        CHECK(same(&straight[i], &broken[i]));
    }
    free(straight);
    free(broken);
    free(all);
}

/* The samples are those that a hash of neuron and place picks: none stands in all neurons' lists.
 */
static void draws_other_samples_for_every_neuron(void)
{
    struct texts *all = make_texts();
    struct neuron *n = calloc(D, sizeof *n);
    for (int x = 0; x < TEXTS; x++) {
        add(n, all, x);
    }
    struct neurons_interval a, b;
    neurons_interval(&n[0], 2, &a);
    neurons_interval(&n[1], 2, &b); /* the same values, scaled */
    size_t shared = 0;
    for (uint32_t i = 0; i < a.n; i++) {
        for (uint32_t k = 0; k < b.n; k++) {
            shared += a.samples[i].draw == b.samples[k].draw;
        }
    }
    CHECK(a.n == 5 && b.n == 5 && shared == 0);
    free(n);
    free(all);
}

static void refuses_bytes_that_are_not_a_neuron(void)
{
    struct texts *all = make_texts();
    struct neuron *n = calloc(D, sizeof *n), back;
    for (int x = 0; x < 3; x++) {
        add(n, all, x);
    }
    struct text blob = {0};
    neurons_encode(&n[0], &blob);
    CHECK(neurons_decode(&back, blob.data, blob.length));
    for (size_t cut = 0; cut < blob.length; cut += 13) {
        CHECK(!neurons_decode(&back, blob.data, cut));
    }
    text_char(&blob, 'x');
    CHECK(!neurons_decode(&back, blob.data, blob.length));
    for (size_t i = 0; i < blob.length; i++) { /* damage is refused or read, never a crash */
        blob.data[i] = (char)(blob.data[i] ^ 0x7F);
        (void)neurons_decode(&back, blob.data, blob.length - 1);
        blob.data[i] = (char)(blob.data[i] ^ 0x7F);
    }
    /* The first bin's number stands behind 24 bytes: a whole one, and such as a double has exactly.
     */
    const double wrong[] = {0.5, NAN, INFINITY, 0x1p58, -0x1p58};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(blob.data + 24, &wrong[i], sizeof wrong[i]);
        CHECK(!neurons_decode(&back, blob.data, blob.length - 1));
    }
    text_free(&blob);
    free(n);
    free(all);
}

static const struct test tests[] = {TEST(finds_both_ends_and_the_bins_as_counted_again),
                                    TEST(does_not_depend_on_order_or_interruptions),
                                    TEST(draws_other_samples_for_every_neuron),
                                    TEST(refuses_bytes_that_are_not_a_neuron)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
