/* The table of routes, and the way from a request to its handler. */
#ifndef DM_HTTP_ROUTER_H
#define DM_HTTP_ROUTER_H

#include "server/http/exchange.h"
#include "server/http/guard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One line of the table. /openapi.json and the docs check are made from it. */
struct route {
    const char *method;  /* "GET", "POST" */
    const char *pattern; /* "/v1/tokenize", "/api/feature/{model}/{source}/{index}" */
    enum http_next (*handle)(struct exchange *x);
    const char *summary; /* one line, for /openapi.json */
    const char *example; /* a request body that works on the demo, NULL where none is taken */
};

/* Everything that a request passes on its way: guard, route, static file, error. */
struct router {
    const struct route *routes;
    size_t n_routes;
    void *app; /* handed to every exchange */
    struct guard guard;
    const struct static_files *files; /* GETs that no route without {names} takes; may be NULL */
    size_t body_limit;                /* bytes; more is 413 */
    /* Called once for every finished exchange (metrics, log line); may be NULL. */
    void (*finished)(struct exchange *x, size_t response_bytes);
};

/* Guards, routes and calls the handler. A GET that nothing takes and that accepts text/html gets
 * index.html if its path may be a page's (guard_is_page), because the site reads its address. HEAD
 * is answered as GET (the transport drops the body), OPTIONS with Allow; an unknown path is 404
 * {"error": ...}, a wrong method 405 with Allow. Every response gets the security headers. The same
 * as router_admit and then router_handle. */
enum http_next router_dispatch(const struct router *router, struct exchange *x);

/* The first half, which needs no body: true if a handler or a static file is to answer, else the
 * reply is filled. body_length is what the client announced, 0 if nothing. */
bool router_admit(const struct router *router, struct exchange *x, uint64_t body_length);

/* The second half, once the body is there. */
enum http_next router_handle(const struct router *router, struct exchange *x);

/* Replies 413, naming the limit. */
void router_refuse_body(const struct router *router, struct exchange *x);

/* The route for a method and a decoded path: one without {names} before one with. parameters, if
 * not NULL, gets what the {names} matched (memory_free each; all NULL if memory ran out).
 * *path_exists says whether any method has the path. */
const struct route *router_find(const struct router *router, const char *method, const char *path,
                                char *parameters[HTTP_PARAMETERS], bool *path_exists);

#endif
