#include "server/http/router.h"

#include "core/base/memory.h"
#include "core/base/text.h"
#include "server/http/static_files.h"

#include <stdio.h>
#include <string.h>

/* The next '/'-separated segment of *path without the '/'; *path moves behind it. */
static const char *segment(const char **path, size_t *length)
{
    const char *start = *path + 1;
    *length = strcspn(start, "/");
    *path = start + *length;
    return start;
}

/* Compares segment by segment; a {name} takes any segment that is not empty. */
static bool matches(const char *pattern, const char *path)
{
    while (*pattern == '/' && *path == '/') {
        size_t wanted_length, found_length;
        const char *wanted = segment(&pattern, &wanted_length);
        const char *found = segment(&path, &found_length);
        bool same = wanted[0] == '{'
                        ? found_length > 0
                        : wanted_length == found_length && memcmp(wanted, found, found_length) == 0;
        if (!same) {
            return false;
        }
    }
    return *pattern == '\0' && *path == '\0';
}

static void free_parameters(char *parameters[HTTP_PARAMETERS])
{
    for (size_t i = 0; i < HTTP_PARAMETERS; i++) {
        memory_free(parameters[i]);
        parameters[i] = NULL;
    }
}

static void take_parameters(const char *pattern, const char *path,
                            char *parameters[HTTP_PARAMETERS])
{
    size_t n = 0;
    while (*pattern == '/' && n < HTTP_PARAMETERS) {
        size_t wanted_length, found_length;
        const char *wanted = segment(&pattern, &wanted_length);
        const char *found = segment(&path, &found_length);
        if (wanted[0] != '{') {
            continue;
        }
        parameters[n] = memory_string_n(found, found_length);
        if (!parameters[n++]) {
            free_parameters(parameters);
            return;
        }
    }
}

static const char *as_routed(const char *method)
{
    return strcmp(method, "HEAD") == 0 ? "GET" : method;
}

static bool is_pattern(const struct route *route)
{
    return strchr(route->pattern, '{') != NULL;
}

const struct route *router_find(const struct router *router, const char *method, const char *path,
                                char *parameters[HTTP_PARAMETERS], bool *path_exists)
{
    const struct route *best = NULL;
    *path_exists = false;
    for (size_t i = 0; i < router->n_routes; i++) {
        const struct route *route = &router->routes[i];
        if (!matches(route->pattern, path)) {
            continue;
        }
        *path_exists = true;
        if (strcmp(route->method, as_routed(method)) != 0) {
            continue;
        }
        if (!best || !is_pattern(route)) {
            best = route;
        }
        if (!is_pattern(route)) {
            break;
        }
    }
    if (parameters) {
        for (size_t i = 0; i < HTTP_PARAMETERS; i++) {
            parameters[i] = NULL;
        }
        if (best) {
            take_parameters(best->pattern, path, parameters);
        }
    }
    return best;
}

static void add_method(char *allow, size_t size, const char *method)
{
    size_t n = strlen(allow);
    if (!strstr(allow, method)) {
        (void)snprintf(allow + n, size - n, "%s%s", n ? ", " : "", method);
    }
}

/* Sets Allow to the methods that the path has. */
static void allow_header(const struct router *router, struct exchange *x)
{
    char allow[96] = "";
    bool get = static_files_has(router->files, x->request.path);
    for (size_t i = 0; i < router->n_routes; i++) {
        if (matches(router->routes[i].pattern, x->request.path)) {
            get = get || strcmp(router->routes[i].method, "GET") == 0;
            add_method(allow, sizeof allow, router->routes[i].method);
        }
    }
    if (get) {
        add_method(allow, sizeof allow, "GET");
        add_method(allow, sizeof allow, "HEAD");
    }
    add_method(allow, sizeof allow, "OPTIONS");
    exchange_header(x, "Allow", "%s", allow);
}

void router_refuse_body(const struct router *router, struct exchange *x)
{
    (void)exchange_error(x, 413, "body: expected at most %zu bytes, found more",
                         router->body_limit);
}

static bool takes_file(const struct router *router, const struct exchange *x)
{
    return strcmp(as_routed(x->request.method), "GET") == 0 &&
           static_files_has(router->files, x->request.path);
}

/* True for an address of the site, which one page draws whatever it is ("/gemma-2-2b/.../17"):
 * asked for by somebody who would read HTML. */
static bool takes_page(const struct router *router, const struct exchange *x)
{
    if (strcmp(as_routed(x->request.method), "GET") != 0 || !guard_is_page(x->request.path) ||
        !static_files_has(router->files, "/")) {
        return false;
    }
    const char *accept = x->request.header(&x->request, "Accept");
    return accept && strcasestr(accept, "text/html");
}

/* No route has this method and path: a static file, a page, OPTIONS, or an error. True for the
 * first two. */
static bool admit_unrouted(const struct router *router, struct exchange *x, bool path_exists)
{
    const char *method = x->request.method;
    const char *path = x->request.path;
    if (takes_file(router, x) || (!path_exists && takes_page(router, x))) {
        return true;
    }
    if (!path_exists && !static_files_has(router->files, path)) {
        (void)exchange_error(x, 404, "there is no %.200s here; GET /openapi.json lists what is",
                             path);
        return false;
    }
    allow_header(router, x);
    if (strcmp(method, "OPTIONS") == 0) {
        x->response.status = 204;
    } else {
        (void)exchange_error(x, 405,
                             "%.200s does not take %.20s; the Allow header says what it takes",
                             path, method);
    }
    return false;
}

bool router_admit(const struct router *router, struct exchange *x, uint64_t body_length)
{
    guard_response_headers(x);
    if (!x->request.path || !guard_admit(&router->guard, x)) {
        return false;
    }
    bool path_exists;
    x->route = router_find(router, x->request.method, x->request.path, x->request.parameters,
                           &path_exists);
    if (x->route && is_pattern(x->route) && takes_file(router, x)) {
        x->route = NULL;
        free_parameters(x->request.parameters);
    }
    if (!x->route) {
        return admit_unrouted(router, x, path_exists);
    }
    if (is_pattern(x->route) && !x->request.parameters[0]) {
        struct status st;
        status_no_memory(&st, strlen(x->request.path));
        (void)exchange_fail(x, &st);
        return false;
    }
    if (body_length > router->body_limit) {
        router_refuse_body(router, x);
        return false;
    }
    return true;
}

enum http_next router_handle(const struct router *router, struct exchange *x)
{
    if (x->route) {
        return x->route->handle(x);
    }
    if (!static_files_serve(router->files, x->request.path, x)) {
        exchange_header(x, "Vary", "Accept"); /* others get 404 at this address */
        if (!static_files_serve(router->files, "/", x)) {
            (void)exchange_error(x, 404, "there is no %.200s here", x->request.path);
        }
    }
    return HTTP_DONE;
}

enum http_next router_dispatch(const struct router *router, struct exchange *x)
{
    return router_admit(router, x, x->request.body_length) ? router_handle(router, x) : HTTP_DONE;
}
