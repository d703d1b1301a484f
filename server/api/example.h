/* Neuronpedia's Activation objects: the texts on which a feature fires, from a dashboard or from
 * imported files (neuronpedia.md 2 and 4). Tokens and values leave out the <bos> that a text begins
 * with; values have 5 decimals; rows are sorted by their largest value, falling. */
#ifndef DM_API_EXAMPLE_H
#define DM_API_EXAMPLE_H

#include "server/api/subject.h"

/* One list: [..]. At most `limit` rows. */
void example_write(struct emitter *w, const struct app *app, const struct subject *s, int64_t index,
                   const struct store_feature_page *page, size_t limit);

/* The same from imported files. *n, if not NULL, is how many there were. */
int example_write_imported(struct emitter *w, const struct app *app, const struct subject *s,
                           int64_t index, size_t limit, size_t *n, struct status *st);

/* The member `minActApprox` of a neuron: its lowest value, null where no examples were read. */
void example_write_minimum(struct emitter *w, const struct store_feature_page *page);

#endif
