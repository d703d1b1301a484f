/* Which requests count as one client's. */
#include "server/http/client.h"

#include "tests/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

static const char *agent, *forwarded;

static const char *header(const struct request *request, const char *name)
{
    (void)request;
    return strcmp(name, "User-Agent") == 0 ? agent : forwarded;
}

static uint64_t from(const char *address, const char *user_agent, const char *forwarded_for)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = (in_port_t)rand()};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = (in_port_t)rand()};
    const struct request request = {.header = header};
    union {
        const struct sockaddr_in *v4;
        const struct sockaddr_in6 *v6;
        const struct sockaddr *any;
    } peer = {.v4 = &v4};
    if (inet_pton(AF_INET, address, &v4.sin_addr) != 1) {
        CHECK(inet_pton(AF_INET6, address, &v6.sin6_addr) == 1);
        peer.v6 = &v6;
    }
    agent = user_agent;
    forwarded = forwarded_for;
    return client_of(peer.any, &request);
}

static void one_address_is_one_client_whatever_it_says(void)
{
    CHECK(from("10.0.0.1", "a", NULL) == from("10.0.0.1", "b", "1.2.3.4"));
    CHECK(from("10.0.0.1", "a", NULL) != from("10.0.0.2", "a", NULL));
    CHECK(from("fd00::1", "a", NULL) == from("fd00::2", "b", NULL));
    CHECK(from("fd00::1", "a", NULL) != from("fd00:0:0:1::1", "a", NULL));
}

static void on_this_machine_the_program_and_the_proxys_word_count(void)
{
    const char *const addresses[] = {"127.0.0.1", "::1"};
    for (int i = 0; i < 2; i++) {
        CHECK(from(addresses[i], "a", NULL) == from(addresses[i], "a", NULL));
        CHECK(from(addresses[i], "a", NULL) != from(addresses[i], "b", NULL));
        CHECK(from(addresses[i], "a", "1.2.3.4") != from(addresses[i], "a", "1.2.3.5"));
        CHECK(from(addresses[i], "ab", NULL) != from(addresses[i], NULL, "ab"));
    }
}

static const struct test tests[] = {
    TEST(one_address_is_one_client_whatever_it_says),
    TEST(on_this_machine_the_program_and_the_proxys_word_count),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
