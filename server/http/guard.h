/* Who may ask: Host and Origin checks against DNS rebinding, and the shared secret. */
#ifndef DM_HTTP_GUARD_H
#define DM_HTTP_GUARD_H

#include "server/http/exchange.h"

#include <stdbool.h>
#include <stddef.h>

struct guard {
    const char *secret;             /* NULL: none is asked for */
    const char *const *allow_hosts; /* names besides localhost, 127.0.0.1, [::1] and bind_host */
    size_t n_allow_hosts;
    const char *bind_host; /* what --host said; 0.0.0.0 and :: allow any literal IP address */
};

/* True if the request may go on. Otherwise the response is filled: 403 for a foreign Host or
 * Origin, 401 {"error":"Invalid or missing X-SECRET-KEY header"} (compared in constant time).
 * /health and the static page are served without the secret; the page asks for it on the first 401.
 */
bool guard_admit(const struct guard *guard, struct exchange *x);

/* True for a path that belongs to the site: none of /v1, /api, /metrics, /openapi.json, /health and
 * what lies below them. */
bool guard_is_page(const char *path);

/* The headers that every response carries: Content-Security-Policy, nosniff, no referrer, ... */
void guard_response_headers(struct exchange *x);

#endif
