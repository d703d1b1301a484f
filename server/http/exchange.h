/* One HTTP request and its reply, without a socket.
 *
 * A handler reads x->request and fills x->response. When the answer needs the model it does not
 * wait: it keeps what it parsed in x->state, sets x->start and x->resume and returns HTTP_WAIT. The
 * server then suspends the connection and calls x->start(x), which hands the work to someone else;
 * whoever finishes it calls exchange_wake(x) once, from any thread, and x->resume(x) is called to
 * write the response (or to wait again).
 *
 * A reply in pieces: x->resume sets x->stream (a reference that the exchange then owns), status and
 * headers, and returns HTTP_STREAM. Whoever fills the stream holds a reference of its own and does
 * not touch x, which ends when the client leaves. */
#ifndef DM_HTTP_EXCHANGE_H
#define DM_HTTP_EXCHANGE_H

#include "core/base/json.h"
#include "core/base/status.h"
#include "core/base/text.h"
#include "server/http/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_next { HTTP_DONE, HTTP_WAIT, HTTP_STREAM };

#define HTTP_JSON "application/json; charset=utf-8"

#define HTTP_PARAMETERS 4
#define HTTP_HEADERS 16
#define HTTP_REQUEST_ID 64 /* bytes of a request id at most */

struct request {
    const char *method; /* "GET" */
    const char *path;   /* percent-decoded, without the query */
    const char *body;   /* NUL-terminated; NULL when there is none */
    size_t body_length;
    char *parameters[HTTP_PARAMETERS]; /* what {name} segments of the route matched, in order */
    const char *(*header)(const struct request *request, const char *name); /* NULL if absent */
    const char *(*query)(const struct request *request, const char *name);
    void *transport; /* for header */

    char *target; /* the decoded path, then names and values of the query, NUL behind each; owned */
    size_t target_length;
};

struct response {
    int status; /* 200 until a handler says otherwise */
    const char *content_type;
    struct text body;
    const void *static_body; /* instead of body: bytes that outlive the exchange */
    size_t static_length;
    struct {
        const char *name; /* static string */
        char value[160];
    } headers[HTTP_HEADERS];
    size_t n_headers;
};

struct exchange {
    struct request request;
    struct response response;
    void *app;                            /* what the routes were given */
    uint64_t id;                          /* counts requests since the start */
    char request_id[HTTP_REQUEST_ID + 1]; /* X-Request-Id: the client's, else one of ours */
    uint64_t client;                      /* who asks (client.h); 0 without a connection */
    int64_t started_us;                   /* monotonic */
    int64_t queued_us;                    /* set by resume, for exchange_queued_us */
    const struct route *route;            /* NULL while unrouted, for metrics and logs */
    void *state;                     /* the handler's own, freed by free_state when all is over */
    void (*free_state)(void *state); /* may be NULL */
    void (*start)(struct exchange *x);
    enum http_next (*resume)(struct exchange *x);
    struct stream *stream;            /* with HTTP_STREAM */
    void (*wake)(struct exchange *x); /* set by the transport */
    bool (*gone)(struct exchange *x); /* likewise; NULL where there is no connection */
    void *transport;
};

/* Says that what the exchange waited for is there. x must not be touched after this call. */
void exchange_wake(struct exchange *x);

/* Whether the client of an exchange that waits has closed its connection. From any thread, before
 * exchange_wake. */
bool exchange_gone(struct exchange *x);

/* Replies {"error": message} with the HTTP status that belongs to st->code (one table, here). */
enum http_next exchange_fail(struct exchange *x, const struct status *st);

/* The same, written out. */
enum http_next exchange_error(struct exchange *x, int http_status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets a response header, replacing one of the same name; name must be a static string. Control
 * bytes in the value become '?', more than HTTP_HEADERS headers are dropped. */
void exchange_header(struct exchange *x, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

int exchange_http_status(enum status_code code);

/* Microseconds since the exchange began. */
int64_t exchange_age_us(const struct exchange *x);

/* How many of them it waited for a turn at the model; 0: it asked for none, or has not had it. */
int64_t exchange_queued_us(const struct exchange *x);

/* Microseconds until what was computed began to come, for a stream; -1: it has not, or is no
 * stream. */
int64_t exchange_first_us(const struct exchange *x);

/* Parses the body as one JSON object; on failure the response is filled and NULL returned.
 * The tree is the caller's. */
cJSON *exchange_json(struct exchange *x);

/* --- for transports: what server.c and exchange_run share ----------------------------------- */

/* A fresh exchange with its id, its start and an empty 200 reply. The transport sets method, header
 * and, before router_dispatch, the target. */
void exchange_open(struct exchange *x, void *app);

/* Splits and decodes "/path?name=value&..." into request.path and what request.query finds. If it
 * cannot be decoded (a '%' without two hex digits, %00, no '/' at its start), path stays NULL and
 * the reply is filled; router_dispatch then leaves it at that. */
void exchange_target(struct exchange *x, const char *target);

/* Call once the reply is written: one that ran out of memory becomes a short 500. */
void exchange_settle(struct exchange *x);

/* The bytes of the reply, whichever of the two holds them. */
const void *exchange_reply(const struct exchange *x, size_t *length);

/* Frees everything that hangs on the exchange, not the struct itself. */
void exchange_release(struct exchange *x);

/* --- for tests and fuzzers: a request without a connection ---------------------------------- */

struct router;

/* Routes and runs the request to its end (waiting for exchange_wake where it must), guards
 * included. headers: "Name: value" lines, NULL-terminated, may be NULL. The target may carry a
 * query. Without a Host line the host is localhost; "Host:" alone stands for none at all. NULL if
 * memory runs out. Free with exchange_close. */
struct exchange *exchange_run(const struct router *router, const char *method, const char *target,
                              const char *const *headers, const char *body, size_t body_length);
void exchange_close(struct exchange *x);

#endif
