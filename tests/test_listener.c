#include "server/http/listener.h"

#include "tests/test.h"

#include <sys/socket.h>
#include <unistd.h>

static void finds_a_free_port(void)
{
    struct status st;
    int fd = -1;
    REQUIRE_OK(listener_open("127.0.0.1", 0, &fd, &st), st);
    CHECK(listener_port(fd) > 0);
    int listening = 0;
    socklen_t size = sizeof listening;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening);
    (void)close(fd);
    CHECK(listener_port(fd) == 0);
}

static void of_a_name_it_takes_the_ipv4_address(void)
{
    struct status st;
    int fd = -1;
    REQUIRE_OK(listener_open("localhost", 0, &fd, &st), st);
    struct sockaddr_storage at;
    socklen_t size = sizeof at;
    CHECK(getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    CHECK(at.ss_family == AF_INET);
    (void)close(fd);
}

static void a_port_in_use_is_named_with_what_to_do(void)
{
    struct status st;
    int fd = -1, second = -1;
    REQUIRE_OK(listener_open("127.0.0.1", 0, &fd, &st), st);
    CHECK(listener_open("127.0.0.1", listener_port(fd), &second, &st) == STATUS_IO);
    char where[64];
    (void)snprintf(where, sizeof where, "127.0.0.1:%d is in use", listener_port(fd));
    CHECK_CONTAINS(st.message, where);
    CHECK_CONTAINS(st.message, "perhaps a darkmatter is running there already");
    CHECK_CONTAINS(st.message, "--port N");
    CHECK(second == -1);
    (void)close(fd);
}

static void refuses_hosts_that_are_not_here(void)
{
    struct status st;
    int fd = -1;
    CHECK(listener_open("192.0.2.1", 0, &fd, &st) == STATUS_IO); /* RFC 5737: nobody's */
    CHECK_CONTAINS(st.message, "192.0.2.1:0: this machine does not have that address");
    CHECK(listener_open("a..b", 0, &fd, &st) == STATUS_IO);
    CHECK_CONTAINS(st.message, "--host a..b: expected an address or a name");
    CHECK(fd == -1);
}

static void refuses_ports_that_are_none(void)
{
    struct status st;
    int fd = -1;
    CHECK(listener_open("127.0.0.1", 65536, &fd, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "--port 65536: expected 0 to 65535");
    CHECK(listener_open("127.0.0.1", -1, &fd, &st) == STATUS_INVALID);
}

static const struct test tests[] = {
    TEST(finds_a_free_port),
    TEST(of_a_name_it_takes_the_ipv4_address),
    TEST(a_port_in_use_is_named_with_what_to_do),
    TEST(refuses_hosts_that_are_not_here),
    TEST(refuses_ports_that_are_none),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
