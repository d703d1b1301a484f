/* The real route table over a nano model: the input's first line picks the route, the rest is the
 * body. Whatever comes, the status is sensible and a reply of JSON is valid JSON. */
#include "tests/v1.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct v1 server;

static void open_once(void)
{
    static bool open;
    if (!open && !v1_open(&server, V1_ORACLE "/gemma2-nano-bf16")) {
        abort();
    }
    open = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_once();
    const struct router *router = &server.router;
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    if (!newline) {
        return 0;
    }
    size_t line = (size_t)(newline - data);
    const struct route *route = &router->routes[(line ? data[0] : 0) % router->n_routes];
    for (size_t i = 0; i < router->n_routes; i++) { /* a seed names its route in full */
        if (strlen(router->routes[i].pattern) == line &&
            memcmp(router->routes[i].pattern, data, line) == 0) {
            route = &router->routes[i];
        }
    }
    char *body = memory_string_n((const char *)newline + 1, size - line - 1);
    struct exchange *x =
        exchange_run(router, route->method, route->pattern, NULL, body, size - line - 1);
    size_t length;
    const char *reply = exchange_reply(x, &length);
    if (x->response.status < 200 || x->response.status > 503 || x->response.status == 500) {
        abort();
    }
    if (strstr(x->response.content_type ? x->response.content_type : HTTP_JSON,
               "application/json")) {
        cJSON *root;
        struct status st = {0};
        if (json_parse(&root, reply, length, "reply", &st)) {
            abort();
        }
        cJSON_Delete(root);
    }
    exchange_close(x);
    memory_free(body);
    return 0;
}
