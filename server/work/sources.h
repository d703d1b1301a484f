/* Which row of the database belongs to which source of the engine: looked up on first use (the SAE
 * is opened for its identity), then remembered. Safe from any thread. */
#ifndef DM_WORK_SOURCES_H
#define DM_WORK_SOURCES_H

#include "core/engine.h"
#include "server/store/store.h"

struct sources;

int sources_create(struct sources **sources, struct engine *engine, struct store *store,
                   struct status *st);
void sources_destroy(struct sources *sources);

int64_t sources_model(const struct sources *sources); /* the model's row */

/* The row of a source of the catalogue; STATUS_NOT_FOUND for another name. */
int sources_row(struct sources *sources, const char *name, int64_t *row, struct status *st);

/* Whether the source's activations are kept in the database: not those of neurons, which are active
 * on every token. */
bool sources_keeps(const struct sources *sources, const char *name);

#endif
