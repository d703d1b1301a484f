/* Statistics of a source's features over texts that were run: what a feature page shows
 * (SAEDashboard's numbers, neuronpedia.md section 4; oracle/README.md section i). Memory only.
 *
 * The texts are shown twice, in any order: the maximum has to be known before values can be sorted
 * into intervals. Every result but `sum` (a float64 sum in the order of the texts) is the same
 * whatever that order is. A text that stands at several places counts once for each of them.
 *
 *     dashboard_create(&d, &options, st);
 *     for each text: dashboard_add(d, &text);       // first pass
 *     dashboard_turn(d);
 *     for each text: dashboard_add(d, &text);       // second pass
 *     dashboard_finish(d, st);
 *     dashboard_feature(d, i) ...
 *
 * A feature takes sizeof(struct dashboard_feature) bytes, so a source is done in chunks of features
 * (dashboard_chunk), each with two passes of its own. */
#ifndef DM_DASHBOARD_DASHBOARD_H
#define DM_DASHBOARD_DASHBOARD_H

#include "core/base/sparse.h"
#include "core/base/status.h"
#include "core/dashboard/histogram.h"

#include <stddef.h>
#include <stdint.h>

enum { DASHBOARD_TOP = 20, DASHBOARD_INTERVALS = 5, DASHBOARD_SAMPLES = 5, DASHBOARD_IGNORED = 16 };

struct dashboard;

/* Where a text stands; the order of places decides between equal values. */
struct dashboard_place {
    int64_t corpus, document;
};

struct dashboard_text {
    int64_t text;       /* the caller's name for it, handed back in examples */
    const int32_t *ids; /* [n] */
    size_t n;
    const struct dashboard_place *places; /* [n_places], rising, at least one */
    size_t n_places;
    const struct sparse *rows; /* n rows: the active features of each token */
};

/* One active position of one document. */
struct dashboard_example {
    float value;
    int32_t token; /* the id at the position */
    int32_t position;
    int64_t text;
    struct dashboard_place place;
    uint64_t draw; /* of samples: which ones are kept */
};

struct dashboard_feature {
    int64_t count; /* active positions; values that are not above 0 and finite do not count */
    double sum;
    float minimum, maximum; /* of the active values; 0 where there are none */
    /* Falling value; ties to the lower place, then the lower position. */
    struct dashboard_example top[DASHBOARD_TOP];
    size_t n_top;
    struct histogram histogram;
    /* Interval i: edge[i] < a <= edge[i+1] with edge[i] = maximum * i / 5 in float64. */
    int64_t in_interval[DASHBOARD_INTERVALS];
    /* Those of the interval with the smallest draw, a hash of (seed, feature, place, position);
     * in the order of `top`. */
    struct dashboard_example samples[DASHBOARD_INTERVALS][DASHBOARD_SAMPLES];
    size_t n_samples[DASHBOARD_INTERVALS];
};

struct dashboard_options {
    uint32_t first; /* features first .. first+n-1 */
    size_t n;
    uint64_t seed;
    const int32_t *ignored; /* [n_ignored <= DASHBOARD_IGNORED] ids that no statistic counts */
    size_t n_ignored;
};

/* How many features fit in `bytes`, a multiple of DASHBOARD_STEP and never less than that. */
#define DASHBOARD_STEP 256
size_t dashboard_chunk(uint64_t bytes);

int dashboard_create(struct dashboard **dashboard, const struct dashboard_options *options,
                     struct status *st);
void dashboard_destroy(struct dashboard *dashboard); /* NULL is fine */

void dashboard_add(struct dashboard *dashboard, const struct dashboard_text *text);
void dashboard_turn(struct dashboard *dashboard); /* between the passes */

/* STATUS_BUSY if the two passes did not see the same texts: something wrote meanwhile. */
int dashboard_finish(struct dashboard *dashboard, struct status *st);

/* Feature first + i. Valid until dashboard_destroy. */
const struct dashboard_feature *dashboard_feature(const struct dashboard *dashboard, size_t i);

/* What the fractions refer to: documents, their counted tokens, tokens of the longest text. */
int64_t dashboard_documents(const struct dashboard *dashboard);
int64_t dashboard_tokens(const struct dashboard *dashboard);
int64_t dashboard_context(const struct dashboard *dashboard);

/* Edge i (0..5) of the intervals. */
double dashboard_edge(const struct dashboard_feature *feature, int i);

/* The share of all tokens in interval i, zeros in the lowest. */
double dashboard_share(const struct dashboard *dashboard, const struct dashboard_feature *feature,
                       int i);

/* Tokens of a text that count: ids other than the ignored ones. */
int64_t dashboard_counted(const int32_t *ids, size_t n, const int32_t *ignored, size_t n_ignored);

#endif
