/* A request as bytes: a line "METHOD target", header lines, an empty line, the body. Whatever
 * comes, the reply is complete, has a sensible status and, where it is an error, is JSON. */
#include "core/base/json.h"
#include "core/base/memory.h"
#include "server/http/emit.h"
#include "server/http/router.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LINES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Repeats the parameters and the query, so that both are decoded and written. */
static enum http_next repeat(struct exchange *x)
{
    struct emitter w = {.out = &x->response.body};
    const char *q = x->request.query(&x->request, "q");
    emit_object(&w);
    emit_key(&w, q ? q : "");
    emit_array(&w);
    for (int i = 0; i < HTTP_PARAMETERS && x->request.parameters[i]; i++) {
        emit_string(&w, x->request.parameters[i]);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    return HTTP_DONE;
}

static enum http_next read_body(struct exchange *x)
{
    cJSON *root = exchange_json(x);
    if (!root) {
        return HTTP_DONE;
    }
    struct emitter w = {.out = &x->response.body};
    emit_array(&w);
    for (const cJSON *child = root->child; child; child = child->next) {
        emit_string(&w, child->string);
        emit_double(&w, child->valuedouble);
        emit_float(&w, (float)child->valuedouble);
        emit_rounded(&w, child->valuedouble, 3);
    }
    emit_end_array(&w);
    cJSON_Delete(root);
    return HTTP_DONE;
}

static enum http_next wait_once(struct exchange *x)
{
    x->start = exchange_wake;
    x->resume = repeat;
    return HTTP_WAIT;
}

static const struct route routes[] = {
    {"GET", "/health", repeat, ""},
    {"GET", "/api/feature/{model}/{source}/{index}", repeat, ""},
    {"GET", "/wait/{name}", wait_once, ""},
    {"POST", "/v1/json", read_body, ""},
};

static const char *const allow_hosts[] = {"lab.local"};

static const struct router router = {
    .routes = routes,
    .n_routes = sizeof routes / sizeof *routes,
    .guard = {.secret = "s",
              .allow_hosts = allow_hosts,
              .n_allow_hosts = 1,
              .bind_host = "0.0.0.0"},
    .body_limit = 4096,
};

static void check(const struct exchange *x)
{
    size_t length;
    const char *reply = exchange_reply(x, &length);
    int status = x->response.status;
    if (status < 200 || status > 599 || (status >= 400 && length == 0)) {
        abort();
    }
    if (length) {
        struct status st;
        cJSON *root;
        if (json_parse(&root, reply, length, "reply", &st)) {
            abort();
        }
        cJSON_Delete(root);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *input = memory_string_n((const char *)data, size);
    const char *lines[LINES + 1] = {NULL};
    size_t n = 0;
    char *p = input;
    char *end = input + size;
    while (p < end && *p != '\n' && n < LINES) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        lines[n++] = p;
        p = stop ? stop + 1 : end;
        if (stop) {
            *stop = '\0';
        }
    }
    p += p < end; /* the empty line */
    char nothing[] = "GET";
    char *method = n ? input : nothing;
    char *target = strchr(method, ' ');
    if (target) {
        *target++ = '\0';
    }
    struct exchange *x = exchange_run(&router, method, target ? target : "/", n ? lines + 1 : lines,
                                      p < end ? p : NULL, (size_t)(end - p));
    if (!x) {
        abort();
    }
    check(x);
    exchange_close(x);
    memory_free(input);
    return 0;
}
