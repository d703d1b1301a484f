/* Neuronpedia's Explanation objects. */
#ifndef DM_API_EXPLAINED_H
#define DM_API_EXPLAINED_H

#include "server/api/subject.h"
#include "server/store/explanations.h"

/* One object: every column but the embedding, scores (as imported, else []), and its origin,
 * "imported" or "here". */
void explained_write_one(struct emitter *w, const struct store_explanation *e);

/* The list of a feature's explanations. *n, if not NULL, is how many there are. */
int explained_write(struct emitter *w, const struct app *app, const struct subject *s,
                    int64_t index, size_t *n, struct status *st);

/* The description that stands for a feature in lists: its first explanation's. *text is the
 * caller's (memory_free), NULL if there is none. */
int explained_first(const struct app *app, const struct subject *s, int64_t index, char **text,
                    struct status *st);

#endif
