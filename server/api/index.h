/* What a server does about indexing when it starts. */
#ifndef DM_API_INDEX_H
#define DM_API_INDEX_H

#include "server/app.h"

#define INDEX_FIRST_TOKENS 50000
#define INDEX_FIRST_EVALUATED 10000

/* Marks jobs that a killed process left running as interrupted. With goes_on set: goes on with the
 * last job if it was interrupted; else, with first_start set and no index job or dashboard in the
 * database, indexes the first INDEX_FIRST_TOKENS tokens of the demo's corpus and evaluates its SAEs
 * over INDEX_FIRST_EVALUATED. A job that cannot be
 * started is no reason not to serve: the sentence is in st then. */
int index_on_start(struct app *app, bool goes_on, bool first_start, struct status *st);

#endif
