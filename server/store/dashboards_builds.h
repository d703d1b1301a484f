/* Builds: the rows of a dashboard while it is written, and once it is shown. A build is removed in
 * short turns, so that other writers need not wait. Private to server/store. */
#ifndef DM_STORE_DASHBOARDS_BUILDS_H
#define DM_STORE_DASHBOARDS_BUILDS_H

#include "server/store/dashboards.h"
#include "server/store/store_private.h"

#include <stdint.h>

/* A gap between two turns of a long piece of writing, in which others get theirs. */
void builds_pause(void);

/* A new build, inside a turn at writing. */
int builds_start(struct connection *c, int64_t source, int64_t *build, struct status *st);

/* Removes a build that is not shown, with all its rows; many turns of its own. */
int builds_remove(struct store *store, int64_t build, struct status *st);

/* Removes those of the source that are not shown: left by runs that ended on the way, or replaced.
 */
int builds_remove_hidden(struct store *store, int64_t source, struct status *st);

/* Keeps a feature's logits, inside a turn at writing; scratch is for the blob. */
int dashboards_put_logits(struct connection *c, struct text *scratch, int64_t source,
                          const struct store_feature *feature, struct status *st);

/* Runs a statement with one parameter, inside a turn at writing. */
int builds_run(struct connection *c, const char *sql, const char *name, int64_t value,
               struct status *st);

#endif
