/* Dashboards: what is kept of every feature of an indexed source, and how pages read it. */
#ifndef DM_STORE_DASHBOARDS_H
#define DM_STORE_DASHBOARDS_H

#include "server/store/store.h"

#define DASHBOARD_BINS 50
#define DASHBOARD_LOGITS 10
#define DASHBOARD_PARTS 7 /* top, five intervals, and of neurons the lowest */
#define DASHBOARD_LOWEST 6

/* A histogram of equal bins between low and high, the last one closed; n_bins 0: none. */
struct store_histogram {
    uint32_t n_bins; /* 0 or DASHBOARD_BINS */
    float low, high;
    uint32_t count[DASHBOARD_BINS];
};

struct store_feature {
    uint32_t index;
    int64_t count; /* activations above 0, of the dashboard's tokens */
    float maximum; /* 0: dead */
    struct store_histogram activations;
    bool has_logits;
    int32_t positive_ids[DASHBOARD_LOGITS], negative_ids[DASHBOARD_LOGITS];
    float positive[DASHBOARD_LOGITS],
        negative[DASHBOARD_LOGITS]; /* largest first; most negative first */
    struct store_histogram logits;
    const char *label; /* "" */
};

struct store_example {
    int part; /* 0 top; 1..5 intervals from the highest down; 6 the lowest of a neuron */
    int place;
    int64_t text, corpus, document;
    int32_t position;
    float value, bin_min, bin_max;
    double bin_contains;
    const float *along; /* [n_tokens] the feature's value on every token of the text */
    const int32_t *ids; /* [n_tokens]; filled when reading */
    size_t n_tokens;
};

struct store_dashboard {
    int64_t documents, tokens, context;
    const char *corpora; /* JSON list of names */
    int64_t seed;
    const uint32_t *counts; /* [d_sae] */
    const float *maxima;    /* [d_sae] */
    size_t d_sae;
    const char *made_at; /* filled when reading */
    void *memory;        /* of what was read; nobody else's business */
};

/* Replaces a source's dashboard as a whole: begin, one put for each feature (any order), end.
 * Nothing is seen by readers before end; abandon takes it back. Features are written in turns of
 * some milliseconds with pauses between them, in which others may write; one writer a source at a
 * time (work/index_turn.h). `dashboard` must stay until end or abandon. */
struct store_dashboard_writer;
int store_dashboard_begin(struct store *store, int64_t source,
                          const struct store_dashboard *dashboard,
                          struct store_dashboard_writer **writer, struct status *st);
int store_dashboard_put(struct store_dashboard_writer *writer, const struct store_feature *feature,
                        const struct store_example *examples, size_t n_examples, struct status *st);
int store_dashboard_end(struct store_dashboard_writer *writer, struct status *st);
void store_dashboard_abandon(struct store_dashboard_writer *writer);

/* --- reading. Results are the caller's and freed by the matching function. ------------------- */

/* The source's dashboard with counts and maxima; *found false if it was never indexed. */
int store_read_dashboard(struct store *store, int64_t source, struct store_dashboard *dashboard,
                         bool *found, struct status *st);
void store_dashboard_free(struct store_dashboard *dashboard);

/* The row of the source of these names that has a dashboard; the newest, if its SAE or the model
 * changed. */
int store_find_dashboard(struct store *store, const char *model, const char *source, int64_t *row,
                         bool *found, struct status *st);

/* One feature, and its examples by part and place, limited to the first `limit` top ones and all
 * intervals when limit > 0. */
struct store_feature_page {
    struct store_feature feature;
    struct store_example *examples;
    size_t n_examples;
    void *memory;
};
int store_read_feature(struct store *store, int64_t source, uint32_t index, size_t limit,
                       struct store_feature_page *page, bool *found, struct status *st);
void store_feature_page_free(struct store_feature_page *page);

/* The features first .. first+n-1 without their examples, by index; those that the dashboard lacks
 * are left out. Strings are valid during the call; a non-zero return of visit stops. */
int store_visit_features(struct store *store, int64_t source, uint32_t first, size_t n,
                         int (*visit)(void *user, const struct store_feature *feature), void *user,
                         struct status *st);

/* What features write into the vocabulary, kept whatever becomes of dashboards. The calls fill and
 * read the logits' part of features [n], those of the indices first .. first+n-1. */
int store_write_logits(struct store *store, int64_t source, const struct store_feature *features,
                       size_t n, struct status *st);
/* *found is false, and features untouched or half filled, unless all are there. */
int store_read_logits(struct store *store, int64_t source, uint32_t first, size_t n,
                      struct store_feature *features, bool *found, struct status *st);

/* Nearest features that were kept, as pairs; *n = 0 if none are. */
int store_read_neighbours(struct store *store, int64_t source, uint32_t index, int64_t target,
                          uint32_t *nearest, float *cosine, size_t capacity, size_t *n,
                          struct status *st);
int store_write_neighbours(struct store *store, int64_t source, uint32_t index, int64_t target,
                           const uint32_t *nearest, const float *cosine, size_t n,
                           struct status *st);

#endif
