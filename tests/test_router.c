#include "server/http/router.h"

#include "core/base/memory.h"
#include "server/http/static_files.h"
#include "tests/test.h"

static enum http_next say(struct exchange *x, const char *word)
{
    text_string(&x->response.body, word);
    return HTTP_DONE;
}

static enum http_next get_exact(struct exchange *x)
{
    return say(x, "exact");
}

static enum http_next get_pattern(struct exchange *x)
{
    char **p = x->request.parameters;
    text_printf(&x->response.body, "%s|%s|%s", p[0], p[1] ? p[1] : "-", p[2] ? p[2] : "-");
    return HTTP_DONE;
}

static enum http_next post_body(struct exchange *x)
{
    return say(x, x->request.body ? x->request.body : "none");
}

static int finished_count;
static size_t finished_bytes;

static void count_finished(struct exchange *x, size_t bytes)
{
    (void)x;
    finished_count++;
    finished_bytes = bytes;
}

static const struct route routes[] = {
    {"GET", "/api/feature/{model}/{source}/{index}", get_pattern, "one feature"},
    {"GET", "/api/{name}", get_pattern, "a name"},
    {"GET", "/api/exact", get_exact, "the exact one"},
    {"POST", "/api/exact", post_body, "posts"},
    {"POST", "/api/{name}", post_body, "posts a name"},
    {"GET", "/health", get_exact, "health"},
};

static const struct router router = {
    .routes = routes,
    .n_routes = sizeof routes / sizeof *routes,
    .body_limit = 10,
    .finished = count_finished,
};

static const char *response_header(const struct exchange *x, const char *name)
{
    for (size_t i = 0; i < x->response.n_headers; i++) {
        if (strcmp(x->response.headers[i].name, name) == 0) {
            return x->response.headers[i].value;
        }
    }
    return NULL;
}

static void check_reply(const char *method, const char *target, const char *body, int status,
                        const char *part)
{
    struct exchange *x = exchange_run(&router, method, target, NULL, body, body ? strlen(body) : 0);
    REQUIRE(x != NULL);
    if (x->response.status != status) {
        printf("    %s %s: %d\n", method, target, x->response.status);
    }
    CHECK(x->response.status == status);
    CHECK_CONTAINS(x->response.body.data, part);
    exchange_close(x);
}

static void fills_the_names_of_a_pattern_in_order(void)
{
    check_reply("GET", "/api/feature/gemma-2-2b/20-gemmascope-res-16k/17", NULL, 200,
                "gemma-2-2b|20-gemmascope-res-16k|17");
    check_reply("GET", "/api/a%20b", NULL, 200, "a b|-|-");
}

static void takes_an_exact_route_before_a_pattern(void)
{
    check_reply("GET", "/api/exact", NULL, 200, "exact");
    check_reply("GET", "/api/exactly", NULL, 200, "exactly|");
    check_reply("POST", "/api/exact", "b", 200, "b");
}

static void a_name_takes_no_empty_segment_and_no_more_than_one(void)
{
    check_reply("GET", "/api/", NULL, 404, "/api/");
    check_reply("GET", "/api/a/b", NULL, 404, "/api/a/b");
    check_reply("GET", "/api/feature/m//1", NULL, 404, "error");
    check_reply("GET", "/api/feature/m/s/1/", NULL, 404, "error");
    check_reply("GET", "/api", NULL, 404, "error");
    check_reply("GET", "//api/exact", NULL, 404, "error");
}

static void an_unknown_path_is_404_and_named(void)
{
    check_reply("GET", "/nope", NULL, 404, "\"error\":\"there is no /nope here");
    check_reply("OPTIONS", "/nope", NULL, 404, "/nope");
    check_reply("BREW", "/nope", NULL, 404, "/nope");
}

static void a_wrong_method_is_405_with_allow(void)
{
    struct exchange *x = exchange_run(&router, "DELETE", "/api/exact", NULL, NULL, 0);
    REQUIRE(x != NULL);
    CHECK(x->response.status == 405);
    CHECK_STRING(response_header(x, "Allow"), "GET, POST, HEAD, OPTIONS");
    CHECK_CONTAINS(x->response.body.data, "DELETE");
    exchange_close(x);
    x = exchange_run(&router, "POST", "/health", NULL, "", 0);
    REQUIRE(x != NULL);
    CHECK(x->response.status == 405);
    CHECK_STRING(response_header(x, "Allow"), "GET, HEAD, OPTIONS");
    exchange_close(x);
}

static void options_is_204_with_allow(void)
{
    struct exchange *x = exchange_run(&router, "OPTIONS", "/health", NULL, NULL, 0);
    REQUIRE(x != NULL);
    CHECK(x->response.status == 204);
    CHECK(x->response.body.length == 0);
    CHECK_STRING(response_header(x, "Allow"), "GET, HEAD, OPTIONS");
    exchange_close(x);
}

static void head_is_routed_as_get(void)
{
    check_reply("HEAD", "/health", NULL, 200, "exact");
}

static void a_body_over_the_limit_is_413_and_names_it(void)
{
    check_reply("POST", "/api/x", "0123456789", 200, "0123456789");
    check_reply("POST", "/api/x", "0123456789a", 413, "at most 10 bytes");
}

static void every_reply_has_the_security_headers_and_an_id(void)
{
    static const char *const targets[] = {"/health", "/nope", "/%zz", "/api/exact"};
    for (size_t i = 0; i < 4; i++) {
        struct exchange *x = exchange_run(&router, "GET", targets[i], NULL, NULL, 0);
        REQUIRE(x != NULL);
        CHECK_CONTAINS(response_header(x, "Content-Security-Policy"), "default-src 'self'");
        CHECK_CONTAINS(response_header(x, "Content-Security-Policy"), "frame-ancestors 'self'");
        CHECK_STRING(response_header(x, "X-Content-Type-Options"), "nosniff");
        CHECK_STRING(response_header(x, "Referrer-Policy"), "no-referrer");
        CHECK_STRING(response_header(x, "Cross-Origin-Resource-Policy"), "same-origin");
        CHECK_STRING(response_header(x, "Cache-Control"), "no-store");
        CHECK(response_header(x, "X-Request-Id") != NULL);
        CHECK_STRING(x->response.content_type, "application/json; charset=utf-8");
        exchange_close(x);
    }
}

static void finished_is_called_once_with_the_bytes_of_the_reply(void)
{
    finished_count = 0;
    check_reply("GET", "/api/exact", NULL, 200, "exact");
    CHECK(finished_count == 1);
    CHECK(finished_bytes == 5);
}

static void finds_without_taking_parameters(void)
{
    bool exists;
    CHECK(router_find(&router, "GET", "/api/exact", NULL, &exists) == &routes[2]);
    CHECK(exists);
    CHECK(router_find(&router, "PUT", "/api/exact", NULL, &exists) == NULL);
    CHECK(exists);
    CHECK(router_find(&router, "GET", "/", NULL, &exists) == NULL);
    CHECK(!exists);
}

static const char *const browser[] = {"Accept: text/html,application/xhtml+xml,*/*;q=0.8", NULL};

/* One GET of a site that has the repository's static/ folder. */
static int page_status(const char *method, const char *target, const char *const *headers,
                       const char **content_type)
{
    struct static_files *files;
    struct status st;
    struct router site = router;
    if (static_files_load(&files, "static", &st)) {
        printf("    %s\n", st.message);
        return 0;
    }
    site.files = files;
    struct exchange *x = exchange_run(&site, method, target, headers, NULL, 0);
    int status = x ? x->response.status : 0;
    *content_type = x ? x->response.content_type : "";
    exchange_close(x);
    static_files_free(files);
    return status;
}

static void an_address_of_the_site_is_the_page_for_who_reads_html(void)
{
    static const char *const targets[] = {"/gemma-2-2b/20-gemmascope-res-16k/17", "/search",
                                          "/gemma-2-2b/20-gemmascope-res-16k?embed=true", "/apis"};
    const char *type;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        CHECK(page_status("GET", targets[i], browser, &type) == 200);
        CHECK_STRING(type, "text/html; charset=utf-8");
        CHECK(page_status("GET", targets[i], NULL, &type) == 404);
        CHECK_STRING(type, HTTP_JSON);
    }
    CHECK(page_status("HEAD", "/search", browser, &type) == 200);
    CHECK(page_status("POST", "/search", browser, &type) == 404);
}

static void an_unknown_address_of_the_api_is_never_the_page(void)
{
    static const char *const targets[] = {"/api",       "/api/feature/a", "/v1/nope",
                                          "/metrics/x", "/health/x",      "/openapi.json/x"};
    const char *type;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        CHECK(page_status("GET", targets[i], browser, &type) == 404);
        CHECK_STRING(type, HTTP_JSON);
    }
}

static void a_file_goes_before_the_page(void)
{
    const char *type;
    CHECK(page_status("GET", "/style.css", browser, &type) == 200);
    CHECK_STRING(type, "text/css; charset=utf-8");
}

static void the_page_says_that_the_answer_depends_on_accept(void)
{
    struct static_files *files;
    struct status st;
    struct router site = router;
    REQUIRE_OK(static_files_load(&files, "static", &st), st);
    site.files = files;
    struct exchange *x = exchange_run(&site, "GET", "/search", browser, NULL, 0);
    REQUIRE(x != NULL);
    CHECK_STRING(response_header(x, "Vary"), "Accept");
    CHECK(response_header(x, "ETag") != NULL);
    exchange_close(x);
    static_files_free(files);
}

/* Nothing may crash or leak, and what is answered is either right or a 500. */
static void survives_every_failing_allocation(void)
{
    bool succeeded = false;
    for (long nth = 1; nth < 40 && !succeeded; nth++) {
        memory_fail_after(nth);
        struct exchange *x = exchange_run(&router, "GET", "/api/feature/m/s/1?a=b", NULL, "x", 1);
        long asked = memory_fail_after(0);
        succeeded = asked < nth;
        CHECK(!x || x->response.status == 500 || x->response.status == 200);
        CHECK(!succeeded || (x && x->response.status == 200));
        if (x && x->response.status == 500) {
            size_t length;
            CHECK_CONTAINS((const char *)exchange_reply(x, &length), "out of memory");
        }
        exchange_close(x);
    }
    CHECK(succeeded);
}

static const struct test tests[] = {
    TEST(fills_the_names_of_a_pattern_in_order),
    TEST(takes_an_exact_route_before_a_pattern),
    TEST(a_name_takes_no_empty_segment_and_no_more_than_one),
    TEST(an_unknown_path_is_404_and_named),
    TEST(a_wrong_method_is_405_with_allow),
    TEST(options_is_204_with_allow),
    TEST(head_is_routed_as_get),
    TEST(a_body_over_the_limit_is_413_and_names_it),
    TEST(every_reply_has_the_security_headers_and_an_id),
    TEST(finished_is_called_once_with_the_bytes_of_the_reply),
    TEST(finds_without_taking_parameters),
    TEST(an_address_of_the_site_is_the_page_for_who_reads_html),
    TEST(an_unknown_address_of_the_api_is_never_the_page),
    TEST(a_file_goes_before_the_page),
    TEST(the_page_says_that_the_answer_depends_on_accept),
    TEST(survives_every_failing_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
