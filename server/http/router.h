/* The table of routes, and the way from a request to its handler. */
#ifndef DM_HTTP_ROUTER_H
#define DM_HTTP_ROUTER_H

#include "server/http/exchange.h"
#include "server/http/guard.h"

#include <stddef.h>

/* One line of the table. /openapi.json and the docs check are made from it. */
struct route {
    const char *method;  /* "GET", "POST" */
    const char *pattern; /* "/v1/tokenize", "/api/feature/{model}/{source}/{index}" */
    enum http_next (*handle)(struct exchange *x);
    const char *summary; /* one line, for /openapi.json */
};

/* Everything that a request passes on its way: guard, route, static file, error. */
struct router {
    const struct route *routes;
    size_t n_routes;
    void *app; /* handed to every exchange */
    struct guard guard;
    const struct static_files *files; /* GETs that no route takes; may be NULL */
    size_t body_limit;                /* bytes; more is 413 */
    /* Called once for every finished exchange (metrics, log line); may be NULL. */
    void (*finished)(struct exchange *x, size_t response_bytes);
};

/* Guards, routes and calls the handler. HEAD is answered as GET (the transport drops the body),
 * OPTIONS with Allow; an unknown path is 404 {"error": ...}, a wrong method 405 with Allow. Every
 * response gets the security headers. */
enum http_next router_dispatch(const struct router *router, struct exchange *x);

/* True if the method and path may be served without reading a body first (used to refuse early). */
const struct route *router_find(const struct router *router, const char *method, const char *path,
                                char *parameters[HTTP_PARAMETERS], bool *path_exists);

#endif
