/* The route table: every address that the server answers, once. */
#ifndef DM_ROUTES_H
#define DM_ROUTES_H

#include "server/http/router.h"

#include <stddef.h>

/* The table and its length; app (struct app) is what the handlers expect in x->app. */
const struct route *routes_table(size_t *n);

#endif
