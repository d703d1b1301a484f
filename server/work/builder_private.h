/* What builder.c (counting) and builder_records.c (results) share. */
#ifndef DM_WORK_BUILDER_PRIVATE_H
#define DM_WORK_BUILDER_PRIVATE_H

#include "core/dashboard/dashboard.h"
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

/* The results of the chunk of n features from `first` on, into the spool. */
int builder_write_records(struct build *w, size_t first, size_t n, struct status *st);

/* All of them from the spool into the database, where they replace the old ones at once. */
int builder_put(struct build *w, struct status *st);

#endif
