/* What happens to requests that wait for the model: server/http/server.c. */
#include "server/http/server.h"

#include "tests/http_server.h"

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

static const struct test tests[] = {
    TEST(sixty_four_waiting_requests_are_woken_by_another_thread),
    TEST(a_handler_may_wait_again_and_be_woken_at_once),
    TEST(a_client_that_leaves_while_it_waits_does_no_harm),
    TEST(a_client_that_leaves_in_the_middle_of_a_request_does_no_harm),
    TEST(once_quiesced_it_answers_those_who_are_there_and_nobody_else),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
