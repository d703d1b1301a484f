#include "server/http/static_files.h"

#include "core/base/memory.h"
#include "server/http/router.h"
#include "tests/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a folder with a site in it ------------------------------------------------------------- */

static char folder[64];

static void write_file(const char *name, const char *content)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    REQUIRE(f != NULL);
    (void)fputs(content, f);
    (void)fclose(f);
}

static void make_folder(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK(mkdir(path, 0755) == 0);
}

static bool make_site(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/test_static_files.XXXXXX");
    if (!mkdtemp(folder)) {
        return false;
    }
    make_folder("view");
    make_folder(".git");
    write_file("index.html", "<p>start</p>");
    write_file("style.css", "p{}");
    write_file("view/lab.js", "export {}");
    write_file("view/index.html", "inner");
    write_file("empty.txt", "");
    write_file("data.bin", "x");
    write_file(".hidden", "no");
    write_file(".git/config", "no");
    char link[128];
    (void)snprintf(link, sizeof link, "%s/passwd.txt", folder);
    CHECK(symlink("/etc/passwd", link) == 0);
    (void)snprintf(link, sizeof link, "%s/loop", folder);
    CHECK(symlink(folder, link) == 0);
    return true;
}

static void remove_site(void)
{
    static const char *const names[] = {"view/lab.js",
                                        "view/index.html",
                                        "view",
                                        "index.html",
                                        "style.css",
                                        "empty.txt",
                                        "data.bin",
                                        ".hidden",
                                        ".git/config",
                                        ".git",
                                        "passwd.txt",
                                        "loop",
                                        ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        CHECK(remove(path) == 0);
    }
}

static struct static_files *load_site(void)
{
    struct static_files *files = NULL;
    struct status st;
    if (make_site() && static_files_load(&files, folder, &st)) {
        printf("    %s\n", st.message);
    }
    return files;
}

static const char *response_header(const struct exchange *x, const char *name)
{
    for (size_t i = 0; i < x->response.n_headers; i++) {
        if (strcmp(x->response.headers[i].name, name) == 0) {
            return x->response.headers[i].value;
        }
    }
    return NULL;
}

static struct exchange *request(const struct static_files *files, const char *method,
                                const char *target, const char *header)
{
    const struct router router = {.files = files, .body_limit = 100};
    const char *const headers[] = {header, NULL};
    return exchange_run(&router, method, target, headers, NULL, 0);
}

static void check_file(const struct static_files *files, const char *target, const char *type,
                       const char *content)
{
    struct exchange *x = request(files, "GET", target, NULL);
    REQUIRE(x != NULL);
    size_t length;
    const char *bytes = exchange_reply(x, &length);
    CHECK(x->response.status == 200);
    CHECK(length == strlen(content) && memcmp(bytes, content, length) == 0);
    CHECK_STRING(x->response.content_type, type);
    CHECK_STRING(response_header(x, "Cache-Control"), "no-cache");
    CHECK(response_header(x, "ETag") != NULL);
    CHECK(response_header(x, "Content-Security-Policy") != NULL);
    exchange_close(x);
}

/* --- the tests ------------------------------------------------------------------------------ */

static void serves_files_with_their_type(void)
{
    struct static_files *files = load_site();
    REQUIRE(files != NULL);
    remove_site(); /* what was loaded is served, whatever happens on the disk */
    check_file(files, "/", "text/html; charset=utf-8", "<p>start</p>");
    check_file(files, "/index.html", "text/html; charset=utf-8", "<p>start</p>");
    check_file(files, "/style.css?v=1", "text/css; charset=utf-8", "p{}");
    check_file(files, "/view/lab.js", "text/javascript; charset=utf-8", "export {}");
    check_file(files, "/empty.txt", "text/plain; charset=utf-8", "");
    check_file(files, "/data.bin", "application/octet-stream", "x");
    static_files_free(files);
}

static void nothing_else_is_there(void)
{
    static const char *const absent[] = {"/.hidden",
                                         "/.git/config",
                                         "/passwd.txt",
                                         "/loop/index.html",
                                         "/view",
                                         "/view/",
                                         "//index.html",
                                         "/./index.html",
                                         "/view/../style.css",
                                         "/../../etc/passwd",
                                         "/%2e%2e/etc/passwd",
                                         "/index.html/",
                                         "/Index.html",
                                         "/index"};
    struct static_files *files = load_site();
    REQUIRE(files != NULL);
    remove_site();
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        struct exchange *x = request(files, "GET", absent[i], NULL);
        REQUIRE(x != NULL);
        if (x->response.status != 404) {
            printf("    %s: %d\n", absent[i], x->response.status);
        }
        CHECK(x->response.status == 404);
        CHECK_STRING(x->response.content_type, "application/json; charset=utf-8");
        exchange_close(x);
    }
    CHECK(static_files_has(files, "/"));
    CHECK(!static_files_has(files, ""));
    CHECK(!static_files_has(NULL, "/"));
    static_files_free(files);
}

static void a_known_etag_is_304_without_a_body(void)
{
    struct static_files *files = load_site();
    REQUIRE(files != NULL);
    remove_site();
    struct exchange *x = request(files, "GET", "/style.css", NULL);
    REQUIRE(x != NULL);
    char etag[64], line[128];
    (void)snprintf(etag, sizeof etag, "%s", response_header(x, "ETag"));
    CHECK(strlen(etag) == 34 && etag[0] == '"' && etag[33] == '"');
    exchange_close(x);
    static const struct {
        const char *before, *after;
    } lists[] = {{"", ""}, {"W/", ""}, {"\"other\", ", ", \"more\""}};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(line, sizeof line, "If-None-Match: %s%s%s", lists[i].before, etag,
                       lists[i].after);
        x = request(files, "GET", "/style.css", line);
        REQUIRE(x != NULL);
        size_t length;
        (void)exchange_reply(x, &length);
        CHECK(x->response.status == 304);
        CHECK(length == 0);
        CHECK_STRING(response_header(x, "ETag"), etag);
        exchange_close(x);
        x = request(files, "GET", "/index.html", line);
        REQUIRE(x != NULL);
        CHECK(x->response.status == 200); /* another file has another tag */
        exchange_close(x);
    }
    static_files_free(files);
}

static void other_methods_get_what_a_file_allows(void)
{
    struct static_files *files = load_site();
    REQUIRE(files != NULL);
    remove_site();
    struct exchange *x = request(files, "POST", "/style.css", NULL);
    REQUIRE(x != NULL);
    CHECK(x->response.status == 405);
    CHECK_STRING(response_header(x, "Allow"), "GET, HEAD, OPTIONS");
    exchange_close(x);
    x = request(files, "OPTIONS", "/", NULL);
    REQUIRE(x != NULL);
    CHECK(x->response.status == 204);
    exchange_close(x);
    x = request(files, "HEAD", "/style.css", NULL);
    REQUIRE(x != NULL);
    CHECK(x->response.status == 200);
    exchange_close(x);
    static_files_free(files);
}

static enum http_next say_routed(struct exchange *x)
{
    text_string(&x->response.body, "routed");
    return HTTP_DONE;
}

/* /{model}/{source} is a page; it must not hide /view/lab.js. */
static void files_go_before_patterns_and_after_exact_routes(void)
{
    static const struct route routes[] = {{"GET", "/{model}/{source}", say_routed, ""},
                                          {"GET", "/style.css", say_routed, ""}};
    static const struct {
        const char *target, *content;
    } cases[] = {{"/view/lab.js", "export {}"}, {"/view/lab", "routed"}, {"/style.css", "routed"}};
    struct static_files *files = load_site();
    REQUIRE(files != NULL);
    remove_site();
    const struct router router = {.routes = routes, .n_routes = 2, .files = files};
    for (size_t i = 0; i < 3; i++) {
        struct exchange *x = exchange_run(&router, "GET", cases[i].target, NULL, NULL, 0);
        REQUIRE(x != NULL);
        size_t length;
        const char *bytes = exchange_reply(x, &length);
        CHECK(length == strlen(cases[i].content));
        CHECK(memcmp(bytes, cases[i].content, length) == 0);
        exchange_close(x);
    }
    static_files_free(files);
}

static void a_folder_that_is_not_there_is_named(void)
{
    struct static_files *files;
    struct status st;
    CHECK(static_files_load(&files, "/nonexistent/site", &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "/nonexistent/site");
    CHECK(files == NULL);
}

static void refuses_a_folder_that_is_no_site(void)
{
    struct static_files *files;
    struct status st;
    REQUIRE(make_site());
    char path[128];
    (void)snprintf(path, sizeof path, "%s/data.bin", folder);
    CHECK(truncate(path, (64 << 20) + 1) == 0); /* a hole, no bytes on the disk */
    CHECK(static_files_load(&files, folder, &st) == STATUS_TOO_LARGE);
    CHECK_CONTAINS(st.message, "data.bin");
    CHECK(files == NULL);
    remove_site();
}

static void survives_every_failing_allocation(void)
{
    REQUIRE(make_site());
    bool succeeded = false;
    for (long nth = 1; nth < 200 && !succeeded; nth++) {
        struct static_files *files;
        struct status st;
        memory_fail_after(nth);
        int code = static_files_load(&files, folder, &st);
        memory_fail_after(0);
        CHECK(code == STATUS_OK || code == STATUS_MEMORY);
        CHECK((code == STATUS_OK) == (files != NULL));
        succeeded = code == STATUS_OK;
        static_files_free(files);
    }
    CHECK(succeeded);
    remove_site();
}

static const struct test tests[] = {
    TEST(serves_files_with_their_type),
    TEST(nothing_else_is_there),
    TEST(a_known_etag_is_304_without_a_body),
    TEST(other_methods_get_what_a_file_allows),
    TEST(files_go_before_patterns_and_after_exact_routes),
    TEST(a_folder_that_is_not_there_is_named),
    TEST(refuses_a_folder_that_is_no_site),
    TEST(survives_every_failing_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
