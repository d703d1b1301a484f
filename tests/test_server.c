#include "server/http/server.h"

#include "tests/http_server.h"

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
    TEST(closes_a_connection_whose_headers_do_not_come),
    TEST(headers_over_the_limit_do_no_harm),
    TEST(a_port_in_use_is_named_with_what_to_do),
    TEST(listens_on_the_ipv6_loopback),
    TEST(leaves_no_file_descriptor_behind),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
