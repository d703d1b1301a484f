/* For test_server.c and test_server_waiting.c: a server with handlers that wait, and a client that
 * writes and reads bytes as they are. */
#ifndef DM_TESTS_HTTP_SERVER_H
#define DM_TESTS_HTTP_SERVER_H

#include "core/base/memory.h"
#include "server/http/server.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define BODY_LIMIT 100000
#define BIG_REPLY 5000000

/* --- handlers ------------------------------------------------------------------------------- */

static inline enum http_next echo(struct exchange *x)
{
    text_printf(&x->response.body, "%zu:", x->request.body_length);
    text_append(&x->response.body, x->request.body ? x->request.body : "", x->request.body_length);
    return HTTP_DONE;
}

static inline enum http_next show_query(struct exchange *x)
{
    const char *q = x->request.query(&x->request, "q");
    text_string(&x->response.body, q ? q : "absent");
    return HTTP_DONE;
}

static inline enum http_next big(struct exchange *x)
{
    for (int i = 0; i < BIG_REPLY; i++) {
        text_char(&x->response.body, (char)('a' + i % 26));
    }
    return HTTP_DONE;
}

/* Exchanges that wait until a test lets them go. */
#define HELD_MAX 128
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static struct exchange *held[HELD_MAX];
static int n_held;
static atomic_int freed_states, finished_count, aborted_count;

static inline void free_held(void *state)
{
    atomic_fetch_add(&freed_states, 1);
    memory_free(state);
}

static inline void start_held(struct exchange *x)
{
    pthread_mutex_lock(&held_lock);
    if (n_held < HELD_MAX) {
        held[n_held++] = x;
    }
    pthread_mutex_unlock(&held_lock);
}

static inline enum http_next resume_held(struct exchange *x)
{
    int *rounds = x->state;
    if (--*rounds > 0) {
        return HTTP_WAIT;
    }
    const char *q = x->request.query(&x->request, "q");
    text_printf(&x->response.body, "released %s", q ? q : "");
    return HTTP_DONE;
}

static inline enum http_next hold_for(struct exchange *x, int rounds)
{
    int *state = memory_alloc(1, sizeof *state);
    *state = rounds;
    x->state = state;
    x->free_state = free_held;
    x->start = start_held;
    x->resume = resume_held;
    return HTTP_WAIT;
}

static inline enum http_next hold(struct exchange *x)
{
    return hold_for(x, 1);
}

static inline enum http_next hold_twice(struct exchange *x)
{
    return hold_for(x, 2);
}

static inline enum http_next wake_at_once(struct exchange *x)
{
    (void)hold_for(x, 3);
    x->start = exchange_wake;
    return HTTP_WAIT;
}

static inline void count_finished(struct exchange *x, size_t bytes)
{
    (void)bytes;
    atomic_fetch_add(&finished_count, 1);
    atomic_fetch_add(&aborted_count, x->response.status == 499);
}

static const struct route routes[] = {
    {"POST", "/v1/echo", echo, ""},       {"GET", "/v1/query", show_query, ""},
    {"GET", "/v1/big", big, ""},          {"GET", "/v1/hold", hold, ""},
    {"GET", "/v1/twice", hold_twice, ""}, {"GET", "/v1/at-once", wake_at_once, ""},
    {"POST", "/v1/hold", hold, ""},
};

static const struct router router = {
    .routes = routes,
    .n_routes = sizeof routes / sizeof *routes,
    .body_limit = BODY_LIMIT,
    .finished = count_finished,
};

/* --- the server under test ------------------------------------------------------------------ */

static inline struct http_server *start_server(int timeout_s)
{
    struct http_options options = {.host = "127.0.0.1", .timeout_s = timeout_s};
    struct http_server *server;
    struct status st;
    n_held = 0;
    atomic_store(&freed_states, 0);
    atomic_store(&finished_count, 0);
    atomic_store(&aborted_count, 0);
    if (http_server_start(&server, &options, &router, &st)) {
        printf("    %s\n", st.message);
        return NULL;
    }
    return server;
}

static inline bool wait_for_active(const struct http_server *server, int n)
{
    for (int i = 0; i < 5000 && http_server_active(server) != n; i++) {
        usleep(1000);
    }
    return http_server_active(server) == n;
}

static inline bool wait_for_held(int n)
{
    bool there = false;
    for (int i = 0; i < 5000 && !there; i++) {
        pthread_mutex_lock(&held_lock);
        there = n_held >= n;
        pthread_mutex_unlock(&held_lock);
        usleep(1000);
    }
    return there;
}

static inline void *release_all(void *unused)
{
    (void)unused;
    struct exchange *list[HELD_MAX];
    pthread_mutex_lock(&held_lock);
    int n = n_held;
    memcpy(list, held, sizeof list);
    n_held = 0;
    pthread_mutex_unlock(&held_lock);
    for (int i = 0; i < n; i++) {
        exchange_wake(list[i]);
    }
    return NULL;
}

static inline void release_from_another_thread(void)
{
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, release_all, NULL) == 0);
    pthread_join(thread, NULL);
}

/* --- a client ------------------------------------------------------------------------------- */

struct client {
    int fd;
    struct text in;
};

struct reply {
    int status;
    char head[4096];
    struct text body;
};

static inline struct client dial(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 10};
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(client.fd, (struct sockaddr *)&at, sizeof at)) {
        (void)close(client.fd);
        client.fd = -1;
    }
    return client;
}

static inline void hang_up(struct client *client)
{
    if (client->fd >= 0) {
        (void)close(client->fd);
    }
    client->fd = -1;
    text_free(&client->in);
}

static inline bool send_bytes(const struct client *client, const char *bytes, size_t n)
{
    while (n) {
        ssize_t sent = send(client->fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

static inline bool send_string(const struct client *client, const char *s)
{
    return send_bytes(client, s, strlen(s));
}

static inline bool send_request(const struct client *client, const char *line, const char *headers,
                                const char *body)
{
    struct text t = {0};
    text_printf(&t, "%s HTTP/1.1\r\nHost: localhost\r\n%s", line, headers);
    if (body) {
        text_printf(&t, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    } else {
        text_string(&t, "\r\n");
    }
    bool sent = send_bytes(client, t.data, t.length);
    text_free(&t);
    return sent;
}

/* False at the end of the connection. */
static inline bool receive_more(struct client *client)
{
    char bytes[65536];
    ssize_t n = recv(client->fd, bytes, sizeof bytes, 0);
    if (n > 0) {
        text_append(&client->in, bytes, (size_t)n);
    }
    return n > 0;
}

static inline void forget(struct text *t, size_t n)
{
    memmove(t->data, t->data + n, t->length - n + 1);
    t->length -= n;
}

/* Reads one reply; what follows it stays in client->in. reply->body is the caller's. */
static inline bool receive(struct client *client, bool has_body, struct reply *reply)
{
    *reply = (struct reply){0};
    const char *end;
    while (!client->in.data || !(end = strstr(client->in.data, "\r\n\r\n"))) {
        if (!receive_more(client)) {
            return false;
        }
    }
    size_t n = (size_t)(end - client->in.data) + 4;
    if (n >= sizeof reply->head) {
        return false;
    }
    memcpy(reply->head, client->in.data, n);
    forget(&client->in, n);
    reply->status = (int)strtol(reply->head + strlen("HTTP/1.1 "), NULL, 10);
    const char *length = strcasestr(reply->head, "\r\nContent-Length: ");
    size_t expected = has_body && length ? strtoul(length + 18, NULL, 10) : 0;
    while (client->in.length < expected) {
        if (!receive_more(client)) {
            return false;
        }
    }
    text_append(&reply->body, client->in.data ? client->in.data : "", expected);
    if (expected) {
        forget(&client->in, expected);
    }
    return true;
}

static inline void expect(struct client *client, int status, const char *part)
{
    struct reply reply;
    REQUIRE(receive(client, true, &reply));
    if (reply.status != status) {
        printf("    %s\n", reply.head);
    }
    CHECK(reply.status == status);
    CHECK_CONTAINS(reply.body.data, part);
    text_free(&reply.body);
}

static inline bool is_closed(struct client *client)
{
    while (receive_more(client)) {
    }
    return errno != EAGAIN;
}

#endif
