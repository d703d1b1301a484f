#include "server/http/server.h"

#include "core/base/memory.h"
#include "core/base/text.h"
#include "server/http/client.h"
#include "server/http/gzip.h"
#include "server/http/listener.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Request line and headers of one request must fit into this. */
#define CONNECTION_MEMORY (32u << 10)

/* The body of a refused request is read and thrown away up to here, so that the client, which reads
 * only once it has written, sees the reply instead of a reset connection. */
#define DRAIN_LIMIT (64u << 20)

/* A streamed reply goes out in pieces of at most so many bytes. */
#define STREAM_PIECE (16u << 10)

struct http_server {
    struct MHD_Daemon *daemon;
    const struct router *router;
    int port;
    int listener; /* once quiesced, -1 before: ours to close after the daemon has stopped */
    atomic_bool quiesced;
    atomic_int active;
};

enum phase { ANNOUNCED, READING, REFUSED, WAITING, ANSWERED };

/* One request on its way; libmicrohttpd calls on_request several times for it (headers, pieces of
 * the body, end, and again after each wait). */
struct carried {
    struct exchange x;
    struct http_server *server;
    struct MHD_Connection *connection;
    enum phase phase;
    struct text body;
    size_t drained;
};

static const char *find_header(const struct request *request, const char *name)
{
    const struct carried *c = request->transport;
    return MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, name);
}

/* From any thread. The connection cannot be gone: a suspended one is kept until it is resumed. But
 * the request may be over before MHD_resume_connection returns, so this counts as active too: the
 * daemon must not be stopped while a thread is in here. */
static void wake(struct exchange *x)
{
    struct carried *c = x->transport;
    struct http_server *server = c->server;
    atomic_fetch_add(&server->active, 1);
    MHD_resume_connection(c->connection);
    atomic_fetch_sub(&server->active, 1);
}

/* While the exchange waits its connection is suspended and libmicrohttpd does not look at it. */
static bool gone(struct exchange *x)
{
    const struct carried *c = x->transport;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd p = {.fd = info ? info->connect_fd : -1, .events = POLLRDHUP};
    return p.fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* The request line, before the headers and before libmicrohttpd decodes it in place. */
static void *on_target(void *argument, const char *target, struct MHD_Connection *connection)
{
    struct http_server *server = argument;
    struct carried *c = memory_zalloc(1, sizeof *c);
    if (!c) {
        return NULL;
    }
    c->server = server;
    c->connection = connection;
    exchange_open(&c->x, server->router->app);
    c->x.transport = c;
    c->x.wake = wake;
    c->x.gone = gone;
    c->x.request.transport = c;
    c->x.request.header = find_header;
    exchange_target(&c->x, target);
    return c;
}

/* Under the stream's lock, so that whoever appends sees either bytes taken or a sleeper to wake. */
static void suspend(void *user)
{
    const struct carried *c = user;
    MHD_suspend_connection(c->connection);
}

static void resume(void *user)
{
    const struct carried *c = user;
    MHD_resume_connection(c->connection);
}

static ssize_t on_more(void *user, uint64_t position, char *to, size_t n)
{
    (void)position;
    struct carried *c = user;
    long read = stream_read(c->x.stream, to, n);
    return read < 0 ? MHD_CONTENT_READER_END_OF_STREAM : read;
}

static struct MHD_Response *make_response(struct carried *c)
{
    if (c->x.stream) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        stream_attach(c->x.stream, info ? info->connect_fd : -1, suspend, resume, c);
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_PIECE, on_more, c, NULL);
    }
    /* The reply's bytes stay where they are: the exchange outlives the response. */
    size_t length;
    exchange_settle(&c->x);
    gzip_reply(&c->x);
    union {
        const void *bytes;
        void *buffer; /* libmicrohttpd does not write to a persistent one */
    } reply = {.bytes = exchange_reply(&c->x, &length)};
    return MHD_create_response_from_buffer(length, reply.buffer, MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result answer(struct carried *c)
{
    const struct response *r = &c->x.response;
    struct MHD_Response *response = make_response(c);
    if (!response) {
        return MHD_NO;
    }
    bool added = true;
    if (r->status != 204 && r->status != 304) {
        added = MHD_add_response_header(response, "Content-Type", r->content_type) == MHD_YES;
    }
    for (size_t i = 0; i < r->n_headers; i++) {
        added =
            MHD_add_response_header(response, r->headers[i].name, r->headers[i].value) == MHD_YES &&
            added;
    }
    if (atomic_load(&c->server->quiesced)) {
        added = MHD_add_response_header(response, "Connection", "close") == MHD_YES && added;
    }
    enum MHD_Result result = MHD_NO;
    if (added) {
        result = MHD_queue_response(c->connection, (unsigned)r->status, response);
        c->phase = ANSWERED;
    }
    MHD_destroy_response(response);
    return result;
}

/* Suspends before start: whoever start hands the work to may be done before start returns. */
static enum MHD_Result go_on(struct carried *c, enum http_next next)
{
    if (next != HTTP_WAIT) {
        return answer(c);
    }
    c->phase = WAITING;
    MHD_suspend_connection(c->connection);
    c->x.start(&c->x);
    return MHD_YES;
}

static uint64_t who_asks(const struct carried *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return client_of(info ? info->client_addr : NULL, &c->x.request);
}

static enum MHD_Result on_headers(struct carried *c, const char *method)
{
    const char *announced =
        MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t length = announced ? strtoull(announced, NULL, 10) : 0;
    atomic_fetch_add(&c->server->active, 1);
    c->x.request.method = method;
    c->x.client = who_asks(c);
    c->phase = READING;
    if (router_admit(c->server->router, &c->x, length)) {
        return MHD_YES;
    }
    c->phase = REFUSED;
    bool asked_first = find_header(&c->x.request, MHD_HTTP_HEADER_EXPECT) != NULL;
    return asked_first || length > DRAIN_LIMIT ? answer(c) : MHD_YES;
}

/* Bodies without a Content-Length meet their limit here. */
static enum MHD_Result on_body(struct carried *c, const char *bytes, size_t *n)
{
    const struct router *router = c->server->router;
    if (c->phase == READING && *n > router->body_limit - c->body.length) {
        router_refuse_body(router, &c->x);
        text_free(&c->body);
        c->phase = REFUSED;
    }
    if (c->phase == READING) {
        text_append(&c->body, bytes, *n);
        if (c->body.failed) {
            struct status st;
            status_no_memory(&st, c->body.length + *n);
            (void)exchange_fail(&c->x, &st);
            text_free(&c->body);
            c->phase = REFUSED;
        }
    } else if (*n > DRAIN_LIMIT - c->drained) {
        return MHD_NO;
    } else {
        c->drained += *n;
    }
    *n = 0;
    return MHD_YES;
}

static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection,
                                  const char *target, const char *method, const char *version,
                                  const char *bytes, size_t *n, void **context)
{
    (void)argument, (void)connection, (void)target, (void)version;
    struct carried *c = *context;
    if (!c) {
        return MHD_NO; /* no memory in on_target */
    }
    if (c->phase == ANNOUNCED) {
        return on_headers(c, method);
    }
    if (*n) {
        return on_body(c, bytes, n);
    }
    if (c->phase == REFUSED) {
        return answer(c);
    }
    if (c->phase == WAITING) {
        return go_on(c, c->x.resume(&c->x));
    }
    c->x.request.body = c->body.data;
    c->x.request.body_length = c->body.length;
    return go_on(c, router_handle(c->server->router, &c->x));
}

/* Also for connections that were cut: status 499 stands for "nobody was there to be answered". */
static void on_completed(void *argument, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
    (void)argument, (void)connection, (void)how;
    struct carried *c = *context;
    *context = NULL;
    if (!c) {
        return;
    }
    struct http_server *server = c->server;
    if (c->phase != ANNOUNCED) {
        size_t length = 0;
        if (c->phase != ANSWERED) {
            c->x.response.status = 499;
        } else if (strcmp(c->x.request.method, "HEAD") != 0) {
            (void)exchange_reply(&c->x, &length);
        }
        if (server->router->finished) {
            server->router->finished(&c->x, length);
        }
    }
    bool counted = c->phase != ANNOUNCED;
    exchange_release(&c->x);
    text_free(&c->body);
    memory_free(c);
    if (counted) {
        atomic_fetch_sub(&server->active, 1);
    }
}

/* --- the server ----------------------------------------------------------------------------- */

int http_server_start(struct http_server **out, const struct http_options *options,
                      const struct router *router, struct status *st)
{
    *out = NULL;
    struct http_server *server = memory_zalloc(1, sizeof *server);
    if (!server) {
        return status_no_memory(st, sizeof *server);
    }
    int fd = -1;
    int code = listener_open(options->host, options->port, &fd, st);
    if (code) {
        memory_free(server);
        return code;
    }
    unsigned threads = options->threads > 0 ? (unsigned)options->threads : 2;
    unsigned connections = options->connections > 0 ? (unsigned)options->connections : 4096;
    unsigned timeout = options->timeout_s > 0 ? (unsigned)options->timeout_s : 60;
    server->router = router;
    server->port = listener_port(fd);
    server->listener = -1;
    errno = 0;
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL,
        on_request, server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_target,
        server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, timeout, MHD_OPTION_CONNECTION_LIMIT,
        connections < threads ? threads : connections, MHD_OPTION_THREAD_POOL_SIZE,
        threads > 1 ? threads : 0, MHD_OPTION_END);
    if (!server->daemon) {
        code = status_set(st, STATUS_IO, "the HTTP server with %u threads cannot be started: %s",
                          threads, errno ? strerror(errno) : "libmicrohttpd gives no reason");
        memory_free(server); /* and not fd: on most of its ways out libmicrohttpd has closed it */
        return code;
    }
    *out = server;
    return STATUS_OK;
}

int http_server_port(const struct http_server *server)
{
    return server->port;
}

/* The socket must stay open while libmicrohttpd's threads may look at it; shutdown makes the kernel
 * refuse newcomers meanwhile instead of letting them queue. */
void http_server_quiesce(struct http_server *server)
{
    if (atomic_exchange(&server->quiesced, true)) {
        return;
    }
    server->listener = MHD_quiesce_daemon(server->daemon);
    if (server->listener >= 0) {
        (void)shutdown(server->listener, SHUT_RDWR);
    }
}

int http_server_active(const struct http_server *server)
{
    return atomic_load(&server->active);
}

void http_server_stop(struct http_server *server)
{
    if (!server) {
        return;
    }
    MHD_stop_daemon(server->daemon);
    if (server->listener >= 0) {
        (void)close(server->listener);
    }
    memory_free(server);
}
