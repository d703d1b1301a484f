#include "server/command/bench_load.h"

#include "core/base/clock.h"
#include "core/base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 256, HEAD = 4096, PIECE = 1 << 18, ANSWER_SECONDS = 600 };

struct connection {
    int fd;
    double asked;
    size_t sent;
    char head[HEAD + 1];
    size_t head_length;
    bool in_body;
    size_t left; /* bytes of the body that are still to come */
};

struct client {
    struct bench_load *load;
    struct text request;
    struct connection *connections;
    int epoll;
    double *times; /* [n] seconds */
    size_t n, capacity;
};

static int dial(int port, struct status *st)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    struct timeval limit = {.tv_sec = ANSWER_SECONDS};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at) != 0) {
        (void)status_set(st, STATUS_IO, "127.0.0.1:%d: %s", port, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static void write_request(const char *path, const char *body, struct text *out)
{
    text_printf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\n", body ? "POST" : "GET", path);
    if (body) {
        text_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    }
    text_printf(out, "\r\n%s", body ? body : "");
}

static int keep_time(struct client *c, double seconds, struct status *st)
{
    if (c->n == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 4096;
        double *grown = memory_resize(c->times, capacity, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, capacity * sizeof *grown);
        }
        c->times = grown;
        c->capacity = capacity;
    }
    c->times[c->n++] = seconds;
    return STATUS_OK;
}

/* A request is shorter than what a socket's buffer takes. */
static int ask(const struct client *c, struct connection *k, struct status *st)
{
    k->asked = clock_seconds();
    k->in_body = false;
    k->head_length = 0;
    ssize_t n = send(k->fd, c->request.data, c->request.length, MSG_NOSIGNAL);
    return n == (ssize_t)c->request.length
               ? STATUS_OK
               : status_set(st, STATUS_IO, "127.0.0.1:%d: the request cannot be sent: %s",
                            c->load->port, strerror(errno));
}

static int wrong(const char *head, struct status *st)
{
    return status_set(st, STATUS_INTERNAL, "expected an answer of 200, found \"%.*s\"",
                      (int)strcspn(head, "\r\n"), head);
}

/* Takes the head of a reply from bytes; *used is how many of them belong to it. */
static int take_head(struct connection *k, const char *bytes, size_t n, size_t *used,
                     struct status *st)
{
    size_t before = k->head_length, room = HEAD - before;
    size_t more = n < room ? n : room;
    memcpy(k->head + before, bytes, more);
    k->head_length += more;
    k->head[k->head_length] = '\0';
    *used = more;
    const char *end = strstr(k->head, "\r\n\r\n");
    if (!end) {
        return more ? STATUS_OK : wrong(k->head, st);
    }
    const char *length = strcasestr(k->head, "\r\nContent-Length:");
    if (strncmp(k->head, "HTTP/1.1 200", 12) != 0 || !length || length > end) {
        return wrong(k->head, st);
    }
    k->left = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    k->in_body = true;
    *used = (size_t)(end + 4 - k->head) - before;
    return STATUS_OK;
}

/* Whatever has come on one connection; when it is all of a reply, the next request goes out. */
static int receive(struct client *c, struct connection *k, char *piece, struct status *st)
{
    ssize_t n = recv(k->fd, piece, PIECE, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return STATUS_OK;
    }
    if (n <= 0) {
        return status_set(st, STATUS_IO, "127.0.0.1:%d: the connection was closed", c->load->port);
    }
    size_t used = 0;
    if (!k->in_body && take_head(k, piece, (size_t)n, &used, st)) {
        return (int)st->code;
    }
    size_t rest = (size_t)n - used;
    if (!k->in_body) {
        return STATUS_OK;
    }
    if (rest > k->left) {
        return wrong(k->head, st);
    }
    k->left -= rest;
    if (k->left > 0) {
        return STATUS_OK;
    }
    int code = keep_time(c, clock_seconds() - k->asked, st);
    return code ? code : ask(c, k, st);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int run(struct client *c, char *piece, struct status *st)
{
    struct bench_load *load = c->load;
    struct epoll_event ready[CONNECTIONS_MAX];
    for (int i = 0; i < load->connections; i++) {
        struct connection *k = &c->connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = k};
        k->fd = dial(load->port, st);
        if (k->fd < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, k->fd, &event) != 0 ||
            ask(c, k, st) != 0) {
            return st->code ? (int)st->code
                            : status_set(st, STATUS_IO, "epoll: %s", strerror(errno));
        }
    }
    double start = clock_seconds(), passed = 0;
    int code = STATUS_OK;
    while (!code && (passed < load->seconds || c->n == 0)) {
        int n = epoll_wait(c->epoll, ready, CONNECTIONS_MAX, ANSWER_SECONDS * 1000);
        for (int i = 0; i < n && !code; i++) {
            code = receive(c, ready[i].data.ptr, piece, st);
        }
        passed = clock_seconds() - start;
        if (n == 0) {
            code = status_set(st, STATUS_IO, "127.0.0.1:%d does not answer", load->port);
        }
    }
    if (!code) {
        qsort(c->times, c->n, sizeof *c->times, by_size);
        load->per_second = (double)c->n / passed;
        load->median_ms = 1e3 * c->times[c->n / 2];
        load->p99_ms = 1e3 * c->times[c->n * 99 / 100];
        load->worst_ms = 1e3 * c->times[c->n - 1];
    }
    return code;
}

int bench_load_run(struct bench_load *load, struct status *st)
{
    struct client c = {.load = load, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    char *piece = memory_alloc(PIECE, 1);
    int n = load->connections < CONNECTIONS_MAX ? load->connections : CONNECTIONS_MAX;
    load->connections = n;
    c.connections = memory_zalloc((size_t)n, sizeof *c.connections);
    write_request(load->path, load->body, &c.request);
    for (int i = 0; c.connections && i < n; i++) {
        c.connections[i].fd = -1;
    }
    int code = piece && c.connections && !c.request.failed
                   ? run(&c, piece, st)
                   : status_no_memory(st, PIECE + (size_t)n * sizeof *c.connections);
    for (int i = 0; c.connections && i < n; i++) {
        if (c.connections[i].fd >= 0) {
            (void)close(c.connections[i].fd);
        }
    }
    (void)close(c.epoll);
    text_free(&c.request);
    memory_free(c.connections);
    memory_free(c.times);
    memory_free(piece);
    return code;
}

/* A whole reply, however many pieces it comes in. */
static int receive_all(int fd, struct connection *k, char *piece, struct text *reply,
                       struct status *st)
{
    while (!k->in_body || k->left > 0) {
        ssize_t n = recv(fd, piece, PIECE, 0);
        size_t used = 0;
        if (n <= 0) {
            return status_set(st, STATUS_IO, "the server does not answer: %s",
                              n < 0 ? strerror(errno) : "it closed the connection");
        }
        if (!k->in_body && take_head(k, piece, (size_t)n, &used, st)) {
            return (int)st->code;
        }
        size_t rest = k->in_body ? (size_t)n - used : 0;
        rest = rest < k->left ? rest : k->left;
        text_append(reply, piece + used, rest);
        k->left -= rest;
    }
    return reply->failed ? status_no_memory(st, reply->length) : STATUS_OK;
}

int bench_load_ask(int port, const char *path, const char *body, struct text *reply,
                   struct status *st)
{
    struct text request = {0};
    struct connection *k = memory_zalloc(1, sizeof *k);
    char *piece = memory_alloc(PIECE, 1);
    write_request(path, body, &request);
    int fd = dial(port, st);
    int code = fd < 0 ? (int)st->code : STATUS_OK;
    if (!code && (!k || !piece || request.failed)) {
        code = status_no_memory(st, PIECE);
    }
    for (size_t sent = 0; !code && sent < request.length;) {
        ssize_t n = send(fd, request.data + sent, request.length - sent, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        code = n > 0 ? STATUS_OK
                     : status_set(st, STATUS_IO, "127.0.0.1:%d: the request cannot be sent: %s",
                                  port, strerror(errno));
    }
    code = code ? code : receive_all(fd, k, piece, reply, st);
    if (fd >= 0) {
        (void)close(fd);
    }
    text_free(&request);
    memory_free(piece);
    memory_free(k);
    return code;
}
