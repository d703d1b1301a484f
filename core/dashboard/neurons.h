/* Statistics of dense, signed values: what is known of each neuron of a layer after texts went by
 * once. Nothing is kept per token; memory is sizeof(struct neuron) a neuron, whatever the corpus.
 *
 * Every result depends on which values stood where and on nothing else: not on the order of the
 * texts, nor on how they were cut into batches, nor on where a run was broken off and went on. So
 * the bins, which must be there before the extremes are known, are 2^e wide and begin at multiples
 * of that; e is the least for which all values fall into NEURONS_BINS of them, and when it grows
 * two neighbours become one.
 *
 *     neurons_add(n, d, &text)       for each text
 *     neurons_encode(&n[i], &blob)   whenever a run may end; neurons_decode to go on
 *     neurons_interval(&n[i], k, &interval)
 */
#ifndef DM_DASHBOARD_NEURONS_H
#define DM_DASHBOARD_NEURONS_H

#include "core/base/text.h"
#include "core/dashboard/dashboard.h"
#include "core/dashboard/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NEURONS_BINS = HISTOGRAM_BINS,
    NEURONS_GROUPS = NEURONS_BINS / 4 + 2, /* of four bins: what examples are drawn from */
    NEURONS_BEFORE = 15,                   /* tokens kept in front of an example's */
    NEURONS_ALONG = 24                     /* ... and all together */
};

/* One token of one document, and the neuron's values around it. */
struct neuron_example {
    struct dashboard_place place;
    uint64_t draw; /* of samples: those with the smallest are kept */
    float value;
    int32_t token, position; /* the id, and where it stands in the text */
    int32_t first;           /* position of along[0] */
    uint32_t n_along;
    float along[NEURONS_ALONG];
};

struct neuron {
    int64_t count; /* values that are finite and not 0 */
    float minimum, maximum;
    int32_t exponent; /* bins are 2^exponent wide */
    uint32_t n_bins;  /* from that of the minimum to that of the maximum; 0: no value yet */
    double scale;     /* 2^-exponent */
    double low;       /* the first bin's number: it begins at low * 2^exponent */
    uint32_t bin[NEURONS_BINS];
    uint32_t n_top, n_bottom;
    struct neuron_example top[DASHBOARD_TOP];    /* falling; ties to the lower place, position */
    struct neuron_example bottom[DASHBOARD_TOP]; /* rising; likewise */
    /* Group g holds the bins whose number, over four and rounded down, is the first bin's plus g.
     */
    uint32_t n_samples[NEURONS_GROUPS];
    struct neuron_example samples[NEURONS_GROUPS][DASHBOARD_SAMPLES];
};

/* A text and the values of all neurons on it. */
struct neurons_text {
    const int32_t *ids;  /* [n] */
    const float *values; /* [n, d] */
    size_t n;
    struct dashboard_place place;
    const int32_t *ignored; /* [n_ignored] ids that no statistic counts */
    size_t n_ignored;
};

void neurons_add(struct neuron *neurons, size_t d, const struct neurons_text *text);

/* Interval k of DASHBOARD_INTERVALS from the lowest up: a fifth of the groups, more or less, so
 * that its edges are edges of bins; empty where there are fewer groups than intervals. Of the
 * tokens in it those with the smallest draws, in the order of `top`. */
struct neurons_interval {
    double low, high;
    int64_t count;
    uint32_t n;
    struct neuron_example samples[DASHBOARD_SAMPLES];
};
void neurons_interval(const struct neuron *neuron, int k, struct neurons_interval *out);

/* The bins as a histogram. */
void neurons_histogram(const struct neuron *neuron, struct histogram *h);

/* Appends everything, little endian; decode is false if the bytes are not such, to the end. */
void neurons_encode(const struct neuron *neuron, struct text *out);
bool neurons_decode(struct neuron *n, const void *bytes, size_t size);

#endif
