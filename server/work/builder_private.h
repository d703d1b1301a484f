/* What builder.c (counting), builder_records.c (results), builder_meaning.c (logits, labels) and
 * neuron_builder.c share. */
#ifndef DM_WORK_BUILDER_PRIVATE_H
#define DM_WORK_BUILDER_PRIVATE_H

#include "core/base/text.h"
#include "core/dashboard/dashboard.h"
#include "server/store/dashboards.h"
#include "server/work/builder.h"
#include "server/work/spool.h"

enum { BUILDER_EXAMPLES = DASHBOARD_TOP + DASHBOARD_INTERVALS * DASHBOARD_SAMPLES };

/* One feature's values along one text: that several examples share them is common. */
struct want {
    int64_t text;
    uint32_t feature;
    uint32_t n_tokens;
    uint32_t n;  /* values above 0 */
    uint64_t at; /* in the spool: n of struct value */
};

struct value {
    uint32_t position;
    float value;
};

struct build {
    const struct builder *b;
    const struct sae_source *source;
    int64_t row;
    int32_t ignored[ENGINE_UNCOUNTED];
    size_t n_ignored;
    struct spool *alongs, *records;
    uint32_t *counts; /* [d_sae] */
    float *maxima;
    int64_t documents, tokens, context;
    /* of the chunk */
    struct dashboard *dashboard;
    struct dashboard_place *places;
    size_t places_capacity;
    struct want *wants;
    size_t n_wants;
    struct want *text_wants; /* those of the text that is visited */
    size_t n_text_wants;
    struct value *values;
    size_t values_capacity;
};

/* STATUS_CANCELLED once the run is abandoned. */
int builder_check(const struct build *w, struct status *st);

/* By text, then feature: the order of wants. */
int builder_compare_wants(const void *a, const void *b);

/* builder_meaning.c: of an SAE's features and of neurons alike. The logits of the features first ..
 * first+n-1 into the logits' part of kept [n]: those in the database, else computed and then kept,
 * so that a run that ends on the way has not done them in vain. *known as engine_feature_logits. */
int builder_logits(const struct builder *b, const struct sae_source *source, int64_t row,
                   size_t first, size_t n, struct store_feature *kept, bool *known,
                   struct status *st);
struct store_histogram builder_histogram(const struct histogram *h);

/* Puts the label in place of what *label has. logits: a feature of which that part counts; NULL:
 * none. */
int builder_label(const struct builder *b, const int32_t *fired, size_t n_fired,
                  const struct store_feature *logits, struct text *label, struct status *st);

/* The results of the chunk of n features from `first` on, into the spool. */
int builder_write_records(struct build *w, size_t first, size_t n, struct status *st);

/* All of them from the spool into the database, where they replace the old ones at once. */
int builder_put(struct build *w, struct status *st);

#endif
