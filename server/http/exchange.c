#include "server/http/exchange.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/http/emit.h"
#include "server/http/router.h"
#include "server/http/target.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- replies -------------------------------------------------------------------------------- */

void exchange_wake(struct exchange *x)
{
    x->wake(x);
}

bool exchange_gone(struct exchange *x)
{
    return x->gone && x->gone(x);
}

int exchange_http_status(enum status_code code)
{
    switch (code) {
    case STATUS_OK:
        return 200;
    case STATUS_INVALID:
        return 400;
    case STATUS_NOT_FOUND:
        return 404;
    case STATUS_TOO_LARGE:
        return 413;
    case STATUS_UNPROCESSABLE:
        return 422;
    case STATUS_UNSUPPORTED:
        return 501;
    case STATUS_BUSY:
    case STATUS_CANCELLED: /* nobody is there to read it, unless the server itself is stopping */
        return 503;
    case STATUS_MEMORY:
    case STATUS_IO:
    case STATUS_CORRUPT:
    case STATUS_INTERNAL:
        break;
    }
    return 500;
}

static void fill_error(struct exchange *x, int http_status, const char *message)
{
    struct response *r = &x->response;
    r->status = http_status;
    r->content_type = HTTP_JSON;
    r->static_body = NULL;
    r->static_length = 0;
    text_clear(&r->body);
    struct emitter w = {.out = &r->body};
    emit_object(&w);
    emit_key(&w, "error");
    emit_string(&w, message);
    emit_end_object(&w);
}

enum http_next exchange_fail(struct exchange *x, const struct status *st)
{
    fill_error(x, exchange_http_status(st->code), st->message);
    if (st->code == STATUS_BUSY) {
        exchange_header(x, "Retry-After", "1");
    }
    return HTTP_DONE;
}

enum http_next exchange_error(struct exchange *x, int http_status, const char *format, ...)
{
    char message[sizeof((struct status *)0)->message];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    fill_error(x, http_status, message);
    return HTTP_DONE;
}

void exchange_header(struct exchange *x, const char *name, const char *format, ...)
{
    struct response *r = &x->response;
    size_t i = 0;
    while (i < r->n_headers && strcasecmp(r->headers[i].name, name) != 0) {
        i++;
    }
    if (i == HTTP_HEADERS) {
        return;
    }
    if (i == r->n_headers) {
        r->n_headers++;
    }
    r->headers[i].name = name;
    char *value = r->headers[i].value;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(value, sizeof r->headers[i].value, format, args);
    va_end(args);
    for (; *value; value++) {
        if ((unsigned char)*value < 0x20 || *value == 0x7F) {
            *value = '?';
        }
    }
}

static const char *kind_of(const cJSON *value)
{
    return cJSON_IsArray(value)    ? "an array"
           : cJSON_IsString(value) ? "a string"
           : cJSON_IsNumber(value) ? "a number"
           : cJSON_IsBool(value)   ? "true or false"
                                   : "null";
}

cJSON *exchange_json(struct exchange *x)
{
    if (!x->request.body || x->request.body_length == 0) {
        (void)exchange_error(x, 400, "body: expected a JSON object, found nothing");
        return NULL;
    }
    struct status st;
    cJSON *root;
    if (json_parse(&root, x->request.body, x->request.body_length, "body", &st)) {
        (void)exchange_fail(x, &st);
        return NULL;
    }
    if (!cJSON_IsObject(root)) {
        (void)exchange_error(x, 400, "body: expected a JSON object, found %s", kind_of(root));
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

/* --- for transports ------------------------------------------------------------------------- */

static const char *find_query(const struct request *request, const char *name)
{
    return request->target ? target_query(request->target, request->target_length, name) : NULL;
}

static int64_t now_us(void)
{
    return (int64_t)(clock_seconds() * 1e6);
}

int64_t exchange_age_us(const struct exchange *x)
{
    return now_us() - x->started_us;
}

int64_t exchange_queued_us(const struct exchange *x)
{
    int64_t queued_us = x->queued_us;
    if (x->stream) {
        (void)stream_began(x->stream, &queued_us);
    }
    return queued_us;
}

int64_t exchange_first_us(const struct exchange *x)
{
    int64_t queued_us = 0;
    double began = x->stream ? stream_began(x->stream, &queued_us) : 0.0;
    return began > 0.0 ? (int64_t)(began * 1e6) - x->started_us : -1;
}

void exchange_open(struct exchange *x, void *app)
{
    static atomic_uint_fast64_t last_id;
    *x = (struct exchange){.app = app};
    x->id = atomic_fetch_add(&last_id, 1) + 1;
    x->started_us = now_us();
    x->request.query = find_query;
    x->response.status = 200;
    x->response.content_type = HTTP_JSON;
}

void exchange_target(struct exchange *x, const char *target)
{
    struct status st;
    struct request *request = &x->request;
    if (target_decode(&request->target, &request->target_length, target, &st)) {
        (void)exchange_fail(x, &st);
        return;
    }
    request->path = request->target;
}

const void *exchange_reply(const struct exchange *x, size_t *length)
{
    const struct response *r = &x->response;
    *length = r->static_body ? r->static_length : r->body.length;
    return r->static_body ? r->static_body : r->body.data ? r->body.data : "";
}

void exchange_settle(struct exchange *x)
{
    static const char no_memory[] = "{\"error\":\"out of memory while the reply was written\"}";
    struct response *r = &x->response;
    if (r->static_body || !r->body.failed) {
        return;
    }
    text_free(&r->body);
    r->status = 500;
    r->content_type = HTTP_JSON;
    r->static_body = no_memory;
    r->static_length = sizeof no_memory - 1;
}

void exchange_release(struct exchange *x)
{
    if (x->state && x->free_state) {
        x->free_state(x->state);
    }
    x->state = NULL;
    if (x->stream) {
        stream_detach(x->stream);
        stream_release(x->stream);
        x->stream = NULL;
    }
    for (size_t i = 0; i < HTTP_PARAMETERS; i++) {
        memory_free(x->request.parameters[i]);
        x->request.parameters[i] = NULL;
    }
    memory_free(x->request.target);
    x->request.target = NULL;
    x->request.path = NULL;
    text_free(&x->response.body);
}

/* --- a request without a connection --------------------------------------------------------- */

struct local {
    struct exchange x; /* first: the caller's pointer is the whole */
    const char *const *headers;
    char *method, *body;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken;
};

static const char *local_header(const struct request *request, const char *name)
{
    const struct local *local = request->transport;
    size_t n = strlen(name);
    for (const char *const *line = local->headers; line && *line; line++) {
        if (strncasecmp(*line, name, n) == 0 && (*line)[n] == ':') {
            return *line + n + 1 + strspn(*line + n + 1, " \t");
        }
    }
    return strcasecmp(name, "Host") == 0 ? "localhost" : NULL;
}

static void local_wake(struct exchange *x)
{
    struct local *local = x->transport;
    pthread_mutex_lock(&local->lock);
    local->woken = true;
    pthread_cond_signal(&local->changed);
    pthread_mutex_unlock(&local->lock);
}

static void local_wake_reader(void *user)
{
    struct local *local = user;
    local_wake(&local->x);
}

static void local_sleep(void *user)
{
    (void)user; /* local_wait follows */
}

static void local_wait(struct local *local)
{
    pthread_mutex_lock(&local->lock);
    while (!local->woken) {
        pthread_cond_wait(&local->changed, &local->lock);
    }
    local->woken = false;
    pthread_mutex_unlock(&local->lock);
}

/* The stream's pieces, one behind the other, as the body. */
static void local_stream(struct local *local)
{
    struct exchange *x = &local->x;
    char piece[4096];
    long n;
    stream_attach(x->stream, -1, local_sleep, local_wake_reader, local);
    while ((n = stream_read(x->stream, piece, sizeof piece)) >= 0) {
        text_append(&x->response.body, piece, (size_t)n);
        if (n == 0) {
            local_wait(local);
        }
    }
}

struct exchange *exchange_run(const struct router *router, const char *method, const char *target,
                              const char *const *headers, const char *body, size_t body_length)
{
    struct local *local = memory_zalloc(1, sizeof *local);
    if (!local) {
        return NULL;
    }
    struct exchange *x = &local->x;
    exchange_open(x, router->app);
    pthread_mutex_init(&local->lock, NULL);
    pthread_cond_init(&local->changed, NULL);
    x->transport = local;
    x->wake = local_wake;
    x->request.transport = local;
    x->request.header = local_header;
    local->headers = headers;
    local->method = memory_string(method);
    local->body = body ? memory_string_n(body, body_length) : NULL;
    if (!local->method || (body && !local->body)) {
        exchange_close(x);
        return NULL;
    }
    x->request.method = local->method;
    x->request.body = local->body;
    x->request.body_length = body ? body_length : 0;
    exchange_target(x, target);
    enum http_next next = router_dispatch(router, x);
    while (next == HTTP_WAIT) {
        x->start(x);
        local_wait(local);
        next = x->resume(x);
    }
    if (next == HTTP_STREAM) {
        local_stream(local);
    }
    exchange_settle(x);
    local->headers = NULL; /* the caller's, who may be done with them */
    if (router->finished) {
        size_t length;
        (void)exchange_reply(x, &length);
        router->finished(x, length);
    }
    return x;
}

void exchange_close(struct exchange *x)
{
    if (!x) {
        return;
    }
    struct local *local = x->transport;
    exchange_release(x);
    memory_free(local->method);
    memory_free(local->body);
    pthread_cond_destroy(&local->changed);
    pthread_mutex_destroy(&local->lock);
    memory_free(local);
}
