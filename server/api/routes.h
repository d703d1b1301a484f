/* The handlers of darkmatter's own addresses outside /v1, for the route table (server/routes.c). */
#ifndef DM_API_ROUTES_H
#define DM_API_ROUTES_H

#include "server/http/exchange.h"

enum http_next api_health(struct exchange *x);  /* GET /health */
enum http_next api_metrics(struct exchange *x); /* GET /metrics */
enum http_next api_openapi(struct exchange *x); /* GET /openapi.json */

#endif
