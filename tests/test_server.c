#include "server/http/server.h"

#include "core/base/memory.h"
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

static enum http_next echo(struct exchange *x)
{
    text_printf(&x->response.body, "%zu:", x->request.body_length);
    text_append(&x->response.body, x->request.body ? x->request.body : "", x->request.body_length);
    return HTTP_DONE;
}

static enum http_next show_query(struct exchange *x)
{
    const char *q = x->request.query(&x->request, "q");
    text_string(&x->response.body, q ? q : "absent");
    return HTTP_DONE;
}

static enum http_next big(struct exchange *x)
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

static void free_held(void *state)
{
    atomic_fetch_add(&freed_states, 1);
    memory_free(state);
}

static void start_held(struct exchange *x)
{
    pthread_mutex_lock(&held_lock);
    if (n_held < HELD_MAX) {
        held[n_held++] = x;
    }
    pthread_mutex_unlock(&held_lock);
}

static enum http_next resume_held(struct exchange *x)
{
    int *rounds = x->state;
    if (--*rounds > 0) {
        return HTTP_WAIT;
    }
    const char *q = x->request.query(&x->request, "q");
    text_printf(&x->response.body, "released %s", q ? q : "");
    return HTTP_DONE;
}

static enum http_next hold_for(struct exchange *x, int rounds)
{
    int *state = memory_alloc(1, sizeof *state);
    *state = rounds;
    x->state = state;
    x->free_state = free_held;
    x->start = start_held;
    x->resume = resume_held;
    return HTTP_WAIT;
}

static enum http_next hold(struct exchange *x)
{
    return hold_for(x, 1);
}

static enum http_next hold_twice(struct exchange *x)
{
    return hold_for(x, 2);
}

static enum http_next wake_at_once(struct exchange *x)
{
    (void)hold_for(x, 3);
    x->start = exchange_wake;
    return HTTP_WAIT;
}

static void count_finished(struct exchange *x, size_t bytes)
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

static struct http_server *start_server(int timeout_s)
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

static bool wait_for_active(const struct http_server *server, int n)
{
    for (int i = 0; i < 5000 && http_server_active(server) != n; i++) {
        usleep(1000);
    }
    return http_server_active(server) == n;
}

static bool wait_for_held(int n)
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

static void *release_all(void *unused)
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

static void release_from_another_thread(void)
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

static struct client dial(int port)
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

static void hang_up(struct client *client)
{
    if (client->fd >= 0) {
        (void)close(client->fd);
    }
    client->fd = -1;
    text_free(&client->in);
}

static bool send_bytes(const struct client *client, const char *bytes, size_t n)
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

static bool send_string(const struct client *client, const char *s)
{
    return send_bytes(client, s, strlen(s));
}

static bool send_request(const struct client *client, const char *line, const char *headers,
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
static bool receive_more(struct client *client)
{
    char bytes[65536];
    ssize_t n = recv(client->fd, bytes, sizeof bytes, 0);
    if (n > 0) {
        text_append(&client->in, bytes, (size_t)n);
    }
    return n > 0;
}

static void forget(struct text *t, size_t n)
{
    memmove(t->data, t->data + n, t->length - n + 1);
    t->length -= n;
}

/* Reads one reply; what follows it stays in client->in. reply->body is the caller's. */
static bool receive(struct client *client, bool has_body, struct reply *reply)
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

static void expect(struct client *client, int status, const char *part)
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

static bool is_closed(struct client *client)
{
    while (receive_more(client)) {
    }
    return errno != EAGAIN;
}

/* --- the tests ------------------------------------------------------------------------------ */

static void keeps_a_connection_for_many_requests(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    CHECK(http_server_port(server) > 0);
    struct client c = dial(http_server_port(server));
    for (int i = 0; i < 20; i++) {
        CHECK(send_request(&c, "POST /v1/echo", "", "hello"));
        expect(&c, 200, "5:hello");
        CHECK(send_request(&c, "GET /v1/query?q=a%20b+c", "", NULL));
        expect(&c, 200, "a b c");
    }
    CHECK(wait_for_active(server, 0));
    CHECK(atomic_load(&finished_count) == 40);
    hang_up(&c);
    http_server_stop(server);
}

static void answers_pipelined_requests_in_order(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct client c = dial(http_server_port(server));
    CHECK(send_string(&c,
                      "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\none"
                      "GET /v1/query?q=two HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    expect(&c, 200, "3:one");
    expect(&c, 200, "two");
    hang_up(&c);
    http_server_stop(server);
}

static void puts_a_split_request_together(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct client c = dial(http_server_port(server));
    static const char request[] = "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n"
                                  "Content-Length: 12\r\n\r\nsplit bodies";
    for (size_t i = 0; i < sizeof request - 1; i += 7) {
        size_t left = sizeof request - 1 - i;
        CHECK(send_bytes(&c, request + i, left < 7 ? left : 7));
        usleep(2000);
    }
    expect(&c, 200, "12:split bodies");
    CHECK(send_string(&c, "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
    expect(&c, 200, "5:abcde");
    hang_up(&c);
    http_server_stop(server);
}

static void refuses_a_body_over_the_limit(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    char *body = memory_alloc(BODY_LIMIT + 2, 1);
    memset(body, 'x', BODY_LIMIT + 1);
    body[BODY_LIMIT + 1] = '\0';
    struct client c = dial(http_server_port(server));
    CHECK(send_request(&c, "POST /v1/echo", "", body));
    expect(&c, 413, "at most 100000 bytes");
    body[BODY_LIMIT] = '\0';
    CHECK(send_request(&c, "POST /v1/echo", "", body)); /* the connection lives on */
    expect(&c, 200, "100000:xxx");
    hang_up(&c);

    c = dial(http_server_port(server)); /* a length nobody would send: answered before it comes */
    CHECK(send_string(&c, "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n"
                          "Content-Length: 99999999999\r\n\r\n"));
    expect(&c, 413, "at most 100000 bytes");
    CHECK(is_closed(&c));
    hang_up(&c);

    c = dial(http_server_port(server));
    CHECK(send_string(&c, "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n186a1\r\n"));
    body[BODY_LIMIT] = 'x';
    CHECK(send_bytes(&c, body, BODY_LIMIT + 1));
    CHECK(send_string(&c, "\r\n0\r\n\r\n"));
    expect(&c, 413, "at most 100000 bytes");
    hang_up(&c);
    memory_free(body);
    http_server_stop(server);
}

static void expect_100_continue_is_answered_before_the_body(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct client c = dial(http_server_port(server));
    CHECK(send_string(&c, "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n"
                          "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
    expect(&c, 100, "");
    CHECK(send_string(&c, "body"));
    expect(&c, 200, "4:body");
    CHECK(send_string(&c, "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n"
                          "Expect: 100-continue\r\nContent-Length: 100001\r\n\r\n"));
    expect(&c, 413, "at most 100000 bytes");
    hang_up(&c);
    http_server_stop(server);
}

static void answers_errors_as_json_and_keeps_the_connection(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct client c = dial(http_server_port(server));
    CHECK(send_request(&c, "GET /nope", "", NULL));
    expect(&c, 404, "{\"error\":\"there is no /nope here");
    CHECK(send_request(&c, "POST /nope", "", "with a body"));
    expect(&c, 404, "/nope");
    CHECK(send_request(&c, "GET /v1/query?q=%zz", "", NULL));
    expect(&c, 400, "hexadecimal");
    CHECK(send_request(&c, "GET /v1/query", "Origin: http://evil.example\r\n", NULL));
    expect(&c, 403, "--allow-host evil.example");
    CHECK(send_string(&c, "GET /v1/query HTTP/1.1\r\nHost: evil.example\r\n\r\n"));
    expect(&c, 403, "--allow-host evil.example");
    CHECK(send_request(&c, "GET /v1/query?q=alive", "", NULL));
    expect(&c, 200, "alive");
    CHECK(send_string(&c, "GET /v1/query HTTP/1.0\r\n\r\n"));
    expect(&c, 403, "no Host header");
    hang_up(&c);
    http_server_stop(server);
}

static void head_options_and_wrong_methods(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct client c = dial(http_server_port(server));
    struct reply reply;
    CHECK(send_request(&c, "HEAD /v1/query?q=abc", "", NULL));
    REQUIRE(receive(&c, false, &reply));
    CHECK(reply.status == 200);
    CHECK_CONTAINS(reply.head, "Content-Length: 3\r\n");
    CHECK_CONTAINS(reply.head, "Content-Type: application/json; charset=utf-8\r\n");
    CHECK_CONTAINS(reply.head, "X-Content-Type-Options: nosniff\r\n");
    text_free(&reply.body);
    CHECK(send_request(&c, "OPTIONS /v1/query", "", NULL));
    REQUIRE(receive(&c, false, &reply));
    CHECK(reply.status == 204);
    CHECK_CONTAINS(reply.head, "Allow: GET, HEAD, OPTIONS\r\n");
    text_free(&reply.body);
    CHECK(send_request(&c, "DELETE /v1/echo", "", NULL));
    REQUIRE(receive(&c, true, &reply));
    CHECK(reply.status == 405);
    CHECK_CONTAINS(reply.head, "Allow: POST, OPTIONS\r\n");
    text_free(&reply.body);
    hang_up(&c);
    http_server_stop(server);
}

static void sends_large_replies_whole(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct client c = dial(http_server_port(server));
    struct reply reply;
    CHECK(send_request(&c, "GET /v1/big", "", NULL));
    REQUIRE(receive(&c, true, &reply));
    CHECK(reply.body.length == BIG_REPLY);
    int wrong = 0;
    for (size_t i = 0; i < reply.body.length; i++) {
        wrong += reply.body.data[i] != (char)('a' + i % 26);
    }
    CHECK(wrong == 0);
    text_free(&reply.body);
    hang_up(&c);
    http_server_stop(server);
}

static void sixty_four_waiting_requests_are_woken_by_another_thread(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    enum { CLIENTS = 64 };
    struct client clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "%s /v1/hold?q=%d.", i % 2 ? "POST" : "GET", i);
        clients[i] = dial(http_server_port(server));
        CHECK(send_request(&clients[i], line, "", i % 2 ? "body" : NULL));
    }
    CHECK(wait_for_held(CLIENTS));
    CHECK(http_server_active(server) == CLIENTS);
    struct client other = dial(http_server_port(server)); /* no thread is blocked by those 64 */
    CHECK(send_request(&other, "GET /v1/query?q=meanwhile", "", NULL));
    expect(&other, 200, "meanwhile");
    hang_up(&other);
    release_from_another_thread();
    for (int i = 0; i < CLIENTS; i++) {
        char part[32];
        (void)snprintf(part, sizeof part, "released %d.", i);
        expect(&clients[i], 200, part);
        hang_up(&clients[i]);
    }
    CHECK(wait_for_active(server, 0));
    CHECK(atomic_load(&freed_states) == CLIENTS);
    http_server_stop(server);
}

static void a_handler_may_wait_again_and_be_woken_at_once(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct client c = dial(http_server_port(server));
    CHECK(send_request(&c, "GET /v1/twice?q=x", "", NULL));
    CHECK(wait_for_held(1));
    release_from_another_thread();
    CHECK(wait_for_held(1));
    release_from_another_thread();
    expect(&c, 200, "released x");
    for (int i = 0; i < 50; i++) {
        CHECK(send_request(&c, "GET /v1/at-once?q=y", "", NULL));
        expect(&c, 200, "released y");
    }
    hang_up(&c);
    http_server_stop(server);
}

static void a_client_that_leaves_while_it_waits_does_no_harm(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    enum { CLIENTS = 16 };
    struct client clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = dial(http_server_port(server));
        CHECK(send_request(&clients[i], "GET /v1/hold", "", NULL));
    }
    CHECK(wait_for_held(CLIENTS));
    for (int i = 0; i < CLIENTS; i++) {
        if (i % 2) { /* a reset instead of an orderly end */
            struct linger now = {.l_onoff = 1};
            (void)setsockopt(clients[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        hang_up(&clients[i]);
    }
    usleep(20000);
    CHECK(http_server_active(server) == CLIENTS); /* kept until they are woken */
    CHECK(atomic_load(&freed_states) == 0);
    release_from_another_thread();
    CHECK(wait_for_active(server, 0));
    CHECK(atomic_load(&freed_states) == CLIENTS);
    CHECK(atomic_load(&finished_count) == CLIENTS);
    http_server_stop(server);
}

static void a_client_that_leaves_in_the_middle_of_a_request_does_no_harm(void)
{
    static const char *const starts[] = {
        "G", "GET /v1/query HTTP/1.1\r\n", "GET /v1/query HTTP/1.1\r\nHost: loc",
        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"};
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        struct client c = dial(http_server_port(server));
        CHECK(send_string(&c, starts[i]));
        usleep(10000);
        hang_up(&c);
    }
    CHECK(wait_for_active(server, 0));
    CHECK(atomic_load(&finished_count) == 1); /* only the last one had begun */
    CHECK(atomic_load(&aborted_count) == 1);
    http_server_stop(server);
}

static void closes_a_connection_whose_headers_do_not_come(void)
{
    struct http_server *server = start_server(1);
    REQUIRE(server != NULL);
    struct client c = dial(http_server_port(server));
    CHECK(send_string(&c, "GET /v1/query HTTP/1.1\r\nHost: local"));
    CHECK(is_closed(&c));
    CHECK(http_server_active(server) == 0);
    hang_up(&c);
    http_server_stop(server);
}

static void headers_over_the_limit_do_no_harm(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct client c = dial(http_server_port(server));
    bool sent = send_string(&c, "GET /v1/query HTTP/1.1\r\nHost: localhost\r\n");
    char line[1024];
    memset(line, 'x', sizeof line);
    memcpy(line, "X: ", 3);
    memcpy(line + sizeof line - 3, "\r\n", 3);
    for (int i = 0; i < 64 && sent; i++) {
        sent = send_string(&c, line);
    }
    struct reply reply;
    if (receive(&c, true, &reply)) { /* or the connection was reset before the reply was read */
        CHECK(reply.status == 431 || reply.status == 413 || reply.status == 414);
        text_free(&reply.body);
    }
    hang_up(&c);
    c = dial(http_server_port(server));
    CHECK(send_request(&c, "GET /v1/query?q=alive", "", NULL));
    expect(&c, 200, "alive");
    hang_up(&c);
    http_server_stop(server);
}

static void a_port_in_use_is_named_with_what_to_do(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct http_options options = {.host = "127.0.0.1", .port = http_server_port(server)};
    struct http_server *second;
    struct status st;
    CHECK(http_server_start(&second, &options, &router, &st) == STATUS_IO);
    CHECK(second == NULL);
    char where[32];
    (void)snprintf(where, sizeof where, "127.0.0.1:%d is in use", http_server_port(server));
    CHECK_CONTAINS(st.message, where);
    CHECK_CONTAINS(st.message, "--port N");
    CHECK_CONTAINS(st.message, "darkmatter");
    http_server_stop(server);
    REQUIRE_OK(http_server_start(&second, &options, &router, &st), st); /* free again at once */
    http_server_stop(second);
}

static void refuses_hosts_that_are_not_here(void)
{
    struct http_server *server;
    struct status st;
    struct http_options options = {.host = "192.0.2.1"}; /* RFC 5737: nobody's */
    CHECK(http_server_start(&server, &options, &router, &st) == STATUS_IO);
    CHECK_CONTAINS(st.message, "192.0.2.1:0: this machine does not have that address");
    options.host = "a..b";
    CHECK(http_server_start(&server, &options, &router, &st) == STATUS_IO);
    CHECK_CONTAINS(st.message, "--host a..b: expected an address or a name");
    options = (struct http_options){.host = "127.0.0.1", .port = 65536};
    CHECK(http_server_start(&server, &options, &router, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "--port 65536");
}

static void listens_on_the_ipv6_loopback(void)
{
    struct http_options options = {.host = "::1", .threads = 1};
    struct http_server *server;
    struct status st;
    if (http_server_start(&server, &options, &router, &st)) {
        CHECK_CONTAINS(st.message, "[::1]:0");
        SKIP("no IPv6 on this machine");
    }
    struct sockaddr_in6 at = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)http_server_port(server)),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct client c = {.fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    CHECK(connect(c.fd, (struct sockaddr *)&at, sizeof at) == 0);
    CHECK(send_string(&c, "GET /v1/query?q=six HTTP/1.1\r\nHost: [::1]:5002\r\n\r\n"));
    expect(&c, 200, "six");
    hang_up(&c);
    http_server_stop(server);
}

static void once_quiesced_it_answers_those_who_are_there_and_nobody_else(void)
{
    struct http_server *server = start_server(0);
    REQUIRE(server != NULL);
    struct client waiting = dial(http_server_port(server));
    CHECK(send_request(&waiting, "GET /v1/hold?q=drained", "", NULL));
    CHECK(wait_for_held(1));
    http_server_quiesce(server);
    http_server_quiesce(server);
    struct client late = dial(http_server_port(server));
    CHECK(late.fd < 0);
    hang_up(&late);
    CHECK(http_server_active(server) == 1);
    release_from_another_thread();
    struct reply reply;
    CHECK(receive(&waiting, true, &reply));
    CHECK_CONTAINS(reply.body.data, "released drained");
    CHECK_CONTAINS(reply.head, "Connection: close");
    text_free(&reply.body);
    CHECK(is_closed(&waiting));
    CHECK(wait_for_active(server, 0));
    hang_up(&waiting);
    http_server_stop(server);
}

/* File descriptors that a start and a stop leave open would add up in no time. */
static void leaves_no_file_descriptor_behind(void)
{
    int before = dup(0);
    (void)close(before);
    for (int i = 0; i < 3; i++) {
        struct http_server *server = start_server(0);
        REQUIRE(server != NULL);
        if (i == 1) {
            http_server_quiesce(server);
        }
        http_server_stop(server);
    }
    int after = dup(0);
    (void)close(after);
    CHECK(before == after);
}

static const struct test tests[] = {
    TEST(keeps_a_connection_for_many_requests),
    TEST(answers_pipelined_requests_in_order),
    TEST(puts_a_split_request_together),
    TEST(refuses_a_body_over_the_limit),
    TEST(expect_100_continue_is_answered_before_the_body),
    TEST(answers_errors_as_json_and_keeps_the_connection),
    TEST(head_options_and_wrong_methods),
    TEST(sends_large_replies_whole),
    TEST(sixty_four_waiting_requests_are_woken_by_another_thread),
    TEST(a_handler_may_wait_again_and_be_woken_at_once),
    TEST(a_client_that_leaves_while_it_waits_does_no_harm),
    TEST(a_client_that_leaves_in_the_middle_of_a_request_does_no_harm),
    TEST(closes_a_connection_whose_headers_do_not_come),
    TEST(headers_over_the_limit_do_no_harm),
    TEST(a_port_in_use_is_named_with_what_to_do),
    TEST(refuses_hosts_that_are_not_here),
    TEST(listens_on_the_ipv6_loopback),
    TEST(once_quiesced_it_answers_those_who_are_there_and_nobody_else),
    TEST(leaves_no_file_descriptor_behind),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
