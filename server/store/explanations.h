/* Explanations, their full-text search, and dashboards imported from Neuronpedia's files. */
#ifndef DM_STORE_EXPLANATIONS_H
#define DM_STORE_EXPLANATIONS_H

#include "server/store/store.h"

struct store_explanation {
    const char *id, *model, *source;
    int64_t index;
    const char *description, *author, *type_name, *explainer, *notes, *origin, *created_at, *other;
};

/* Adds or, where the id is known, replaces; the origin stays the first one. A batch is one
 * transaction. NULL strings count as ""; id, model and source are needed. */
int store_put_explanations(struct store *store, const struct store_explanation *e, size_t n,
                           struct status *st);
int store_delete_explanation(struct store *store, const char *id, bool *found, struct status *st);

/* Those of one feature (index >= 0), of a source (index -1), of a model (source NULL), by source,
 * index and row. Strings are valid during the call; a non-zero return of visit stops. */
int store_explanations(struct store *store, const char *model, const char *source, int64_t index,
                       int (*visit)(void *user, const struct store_explanation *e), void *user,
                       struct status *st);

/* Full-text search over explanations and automatic labels, best first; query is plain words (every
 * word must occur, the last one may be a beginning; quotes and operators of FTS5 mean nothing).
 * model and sources (a list of names; empty: all) narrow it. */
struct store_match {
    const char *model, *source;
    int64_t index;
    const char *description;                /* the explanation, or the label */
    const char *explainer, *type_name, *id; /* "" for a label */
    bool is_label;
    double score; /* larger is better, in 0..1 */
};
int store_search(struct store *store, const char *query, const char *model,
                 const char *const *sources, size_t n_sources, size_t offset, size_t limit,
                 int (*visit)(void *user, const struct store_match *m), void *user, size_t *total,
                 struct status *st);

/* Imported dashboards, line by line as they came. A line replaces the one of the same feature, or
 * of the same id. Reading: of one feature, or with index -1 of the source, by index and row. */
struct store_imported {
    const char *id; /* of an activation; NULL for a feature */
    const char *model, *source;
    int64_t index;
    const char *line;
};
int store_put_imported(struct store *store, const struct store_imported *lines, size_t n,
                       struct status *st);
int store_imported_features(struct store *store, const char *model, const char *source,
                            int64_t index,
                            int (*visit)(void *user, const struct store_imported *line), void *user,
                            struct status *st);
int store_imported_examples(struct store *store, const char *model, const char *source,
                            int64_t index,
                            int (*visit)(void *user, const struct store_imported *line), void *user,
                            struct status *st);

#endif
