/* One indexer of a database at a time, whichever process it is in: marks and dashboards have one
 * writer. The next one waits and then goes on from where the first came to, so nothing is lost and
 * nothing is done twice. */
#ifndef DM_WORK_INDEX_TURN_H
#define DM_WORK_INDEX_TURN_H

#include "server/work/indexer.h"

/* Waits for the turn, with progress in the phase "waiting". STATUS_CANCELLED when stopped first; a
 * turn that was not got need not be ended. */
int index_turn_take(const struct indexer *ix, int *turn, struct status *st);
void index_turn_end(int turn);

#endif
