#include "server/http/guard.h"

#include "core/base/clock.h"
#include "server/http/router.h"
#include "tests/test.h"

static enum http_next answer(struct exchange *x)
{
    text_string(&x->response.body, "{}");
    return HTTP_DONE;
}

static const struct route routes[] = {
    {"GET", "/v1/thing", answer, ""},         {"POST", "/v1/thing", answer, ""},
    {"GET", "/api/thing", answer, ""},        {"GET", "/metrics", answer, ""},
    {"GET", "/openapi.json", answer, ""},     {"GET", "/health", answer, ""},
    {"GET", "/{model}/{source}", answer, ""}, {"POST", "/health", answer, ""},
};

/* Runs one request; the reply's status. part, if any, must stand in the body. */
static int status_of(const struct guard *guard, const char *method, const char *path,
                     const char *const *headers, const char *part)
{
    struct router router = {.routes = routes,
                            .n_routes = sizeof routes / sizeof *routes,
                            .guard = *guard,
                            .body_limit = 100};
    struct exchange *x = exchange_run(&router, method, path, headers, NULL, 0);
    if (!x) {
        return 0;
    }
    if (part) {
        CHECK_CONTAINS(x->response.body.data, part);
    }
    int status = x->response.status;
    exchange_close(x);
    return status;
}

static bool host_passes(const struct guard *guard, const char *host)
{
    char line[400];
    (void)snprintf(line, sizeof line, "Host: %s", host);
    const char *const headers[] = {line, NULL};
    int status = status_of(guard, "GET", "/v1/thing", headers, NULL);
    CHECK(status == 200 || status == 403);
    return status == 200;
}

static bool origin_passes(const struct guard *guard, const char *origin)
{
    char line[400];
    (void)snprintf(line, sizeof line, "Origin: %s", origin);
    const char *const headers[] = {line, NULL};
    int status = status_of(guard, "POST", "/v1/thing", headers, NULL);
    CHECK(status == 200 || status == 403);
    return status == 200;
}

static void takes_this_machine_by_its_usual_names(void)
{
    const struct guard guard = {.bind_host = "127.0.0.1"};
    CHECK(host_passes(&guard, "localhost"));
    CHECK(host_passes(&guard, "localhost:5002"));
    CHECK(host_passes(&guard, "LocalHost:1"));
    CHECK(host_passes(&guard, "127.0.0.1"));
    CHECK(host_passes(&guard, "127.0.0.1:5002"));
    CHECK(host_passes(&guard, "[::1]"));
    CHECK(host_passes(&guard, "[::1]:5002"));
    CHECK(host_passes(&guard, "[0:0:0:0:0:0:0:1]:5002"));
}

static void refuses_other_hosts_and_says_what_to_do(void)
{
    static const char *const headers[] = {"Host: evil.example:5002", NULL};
    const struct guard guard = {.bind_host = "127.0.0.1"};
    CHECK(status_of(&guard, "GET", "/v1/thing", headers, "--allow-host evil.example\"") == 403);
    CHECK(status_of(&guard, "GET", "/", headers, "evil.example") == 403);
    CHECK(status_of(&guard, "GET", "/health", headers, "evil.example") == 403);
    CHECK(!host_passes(&guard, "192.168.1.5"));
    CHECK(!host_passes(&guard, "[2001:db8::1]"));
    CHECK(!host_passes(&guard, "localhost.evil.example"));
    CHECK(!host_passes(&guard, "127.0.0.1.evil.example"));
    CHECK(!host_passes(&guard, "evil.example:localhost"));
}

static void refuses_hosts_that_are_none(void)
{
    static const char *const bad[] = {"",
                                      ":5002",
                                      "[::1",
                                      "::1",
                                      "[]",
                                      "localhost:50x",
                                      "[::1]x",
                                      "[localhost",
                                      "localhost@evil",
                                      "localhost, evil",
                                      "localhost/"};
    const struct guard guard = {.bind_host = "127.0.0.1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (host_passes(&guard, bad[i])) {
            printf("    %s\n", bad[i]);
            CHECK(false);
        }
    }
    char longest[350];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    CHECK(!host_passes(&guard, longest));
}

static void takes_the_names_it_was_given(void)
{
    static const char *const names[] = {"lab.local", "box:5002", "[2001:db8::7]", "2001:db8::8"};
    const struct guard guard = {
        .bind_host = "192.168.1.5", .allow_hosts = names, .n_allow_hosts = 4};
    CHECK(host_passes(&guard, "192.168.1.5:5002"));
    CHECK(host_passes(&guard, "lab.local"));
    CHECK(host_passes(&guard, "LAB.local:80"));
    CHECK(host_passes(&guard, "box"));
    CHECK(host_passes(&guard, "box:9"));
    CHECK(host_passes(&guard, "[2001:db8::7]:5002"));
    CHECK(host_passes(&guard, "[2001:db8:0::8]"));
    CHECK(!host_passes(&guard, "192.168.1.6"));
    CHECK(!host_passes(&guard, "lab"));
    CHECK(!host_passes(&guard, "x.lab.local"));
}

static void bound_to_every_address_it_takes_any_address_but_no_name(void)
{
    static const char *const everywhere[] = {"0.0.0.0", "::", "0::0"};
    for (size_t i = 0; i < 3; i++) {
        const struct guard guard = {.bind_host = everywhere[i]};
        CHECK(host_passes(&guard, "192.168.1.5:5002"));
        CHECK(host_passes(&guard, "[fe80::1]:5002"));
        CHECK(host_passes(&guard, "localhost"));
        CHECK(!host_passes(&guard, "evil.example"));
        CHECK(!host_passes(&guard, "192.168.1.5.evil.example"));
    }
}

static void needs_a_host_header(void)
{
    static const char *const headers[] = {"Host:", NULL};
    const struct guard guard = {.bind_host = "127.0.0.1"};
    CHECK(status_of(&guard, "GET", "/v1/thing", headers, "no Host header") == 403);
}

static void an_origin_must_be_ours_too(void)
{
    static const char *const names[] = {"lab.local"};
    const struct guard guard = {.bind_host = "127.0.0.1", .allow_hosts = names, .n_allow_hosts = 1};
    CHECK(origin_passes(&guard, "http://localhost:5002"));
    CHECK(origin_passes(&guard, "http://127.0.0.1"));
    CHECK(origin_passes(&guard, "HTTPS://[::1]:5002"));
    CHECK(origin_passes(&guard, "https://lab.local"));
    CHECK(!origin_passes(&guard, "null"));
    CHECK(!origin_passes(&guard, ""));
    CHECK(!origin_passes(&guard, "localhost"));
    CHECK(!origin_passes(&guard, "file://localhost"));
    CHECK(!origin_passes(&guard, "http://evil.example"));
    CHECK(!origin_passes(&guard, "http://localhost.evil.example:5002"));
    CHECK(!origin_passes(&guard, "http://localhost:5002/evil"));
    CHECK(!origin_passes(&guard, "http://localhost@evil.example"));
}

static void asks_for_the_secret_where_data_is(void)
{
    static const char *const wrong[] = {"X-SECRET-KEY: sesamo", NULL};
    static const char *const longer[] = {"X-SECRET-KEY: sesame!", NULL};
    static const char *const shorter[] = {"X-SECRET-KEY: sesam", NULL};
    static const char *const empty[] = {"X-SECRET-KEY: ", NULL};
    static const char *const right[] = {"x-secret-key: sesame", NULL};
    static const char *const closed[] = {"/v1/thing",     "/api/thing", "/metrics",
                                         "/openapi.json", "/v1",        "/api/nope/x"};
    const struct guard guard = {.secret = "sesame"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        const char *say = "{\"error\":\"Invalid or missing X-SECRET-KEY header\"}";
        CHECK(status_of(&guard, "GET", closed[i], NULL, say) == 401);
        CHECK(status_of(&guard, "HEAD", closed[i], NULL, say) == 401);
        CHECK(status_of(&guard, "GET", closed[i], wrong, say) == 401);
        CHECK(status_of(&guard, "GET", closed[i], longer, say) == 401);
        CHECK(status_of(&guard, "GET", closed[i], shorter, say) == 401);
        CHECK(status_of(&guard, "GET", closed[i], empty, say) == 401);
        CHECK(status_of(&guard, "GET", closed[i], right, NULL) == (i < 4 ? 200 : 404));
    }
    CHECK(status_of(&guard, "POST", "/v1/thing", NULL, NULL) == 401);
    CHECK(status_of(&guard, "POST", "/v1/thing", right, NULL) == 200);
    CHECK(status_of(&guard, "GET", "/%761/thing", NULL, NULL) == 401); /* decoded first */
}

enum { LONG_SECRET = 1 << 21 };

/* Seconds of the quickest of some refusals of a key that differs from the secret at one place. */
static double refusal_seconds(const struct guard *guard, char *line, size_t at)
{
    const char *const headers[] = {line, NULL};
    char *key = line + strlen("X-SECRET-KEY: ");
    double best = 1e9;
    key[at] = 'b';
    for (int i = 0; i < 9; i++) {
        double begun = clock_seconds();
        CHECK(status_of(guard, "GET", "/v1/thing", headers, NULL) == 401);
        double took = clock_seconds() - begun;
        best = took < best ? took : best;
    }
    key[at] = 'a';
    return best;
}

/* A comparison that stopped at the first difference would tell a secret letter by letter: of this
 * long one the first letter would be refused hundreds of times sooner than the last. */
static void a_wrong_secret_takes_as_long_wherever_it_differs(void)
{
    static char secret[LONG_SECRET + 1];
    static char line[LONG_SECRET + 32];
    memset(secret, 'a', LONG_SECRET);
    (void)snprintf(line, sizeof line, "X-SECRET-KEY: %s", secret);
    const struct guard guard = {.secret = secret};
    double first = refusal_seconds(&guard, line, 0);
    double last = refusal_seconds(&guard, line, LONG_SECRET - 1);
    CHECK(first > 0.5 * last && last > 0.5 * first);
}

static void serves_health_and_pages_without_the_secret(void)
{
    const struct guard guard = {.secret = "sesame"};
    CHECK(status_of(&guard, "GET", "/health", NULL, NULL) == 200);
    CHECK(status_of(&guard, "HEAD", "/health", NULL, NULL) == 200);
    CHECK(status_of(&guard, "GET", "/gemma/20-res", NULL, NULL) == 200);
    CHECK(status_of(&guard, "GET", "/v1thing/20-res", NULL, NULL) == 200);
    CHECK(status_of(&guard, "GET", "/style.css", NULL, NULL) == 404);
    CHECK(status_of(&guard, "POST", "/health", NULL, NULL) == 401);
}

static const struct test tests[] = {
    TEST(takes_this_machine_by_its_usual_names),
    TEST(refuses_other_hosts_and_says_what_to_do),
    TEST(refuses_hosts_that_are_none),
    TEST(takes_the_names_it_was_given),
    TEST(bound_to_every_address_it_takes_any_address_but_no_name),
    TEST(needs_a_host_header),
    TEST(an_origin_must_be_ours_too),
    TEST(asks_for_the_secret_where_data_is),
    TEST(a_wrong_secret_takes_as_long_wherever_it_differs),
    TEST(serves_health_and_pages_without_the_secret),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
