/* A request as bytes: a line "METHOD target", header lines, an empty line, the body. Whatever
 * comes, the reply is complete, has a sensible status and, where it is an error, is JSON. */
#include "core/base/json.h"
#include "server/http/emit.h"
#include "tests/fuzz/request.h"

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
    struct fuzz_request r;
    fuzz_request_split(&r, data, size);
    struct exchange *x = fuzz_request_run(&r, &router);
    check(x);
    exchange_close(x);
    fuzz_request_free(&r);
    return 0;
}
