#include "server/http/gzip.h"

#include "core/base/memory.h"
#include "tests/test.h"

#include <zlib.h>

static const char *accepted;

static const char *header(const struct request *request, const char *name)
{
    (void)request;
    return strcmp(name, "Accept-Encoding") == 0 ? accepted : NULL;
}

static void reply_of(struct exchange *x, size_t n, const char *type)
{
    exchange_open(x, NULL);
    x->request.header = header;
    x->response.content_type = type;
    for (size_t i = 0; i < n; i++) {
        text_char(&x->response.body, "01234567"[i * i % 8]);
    }
}

static const char *found(const struct exchange *x, const char *name)
{
    for (size_t i = 0; i < x->response.n_headers; i++) {
        if (strcmp(x->response.headers[i].name, name) == 0) {
            return x->response.headers[i].value;
        }
    }
    return "(none)";
}

static void reads_accept_encoding(void)
{
    static const char *const yes[] = {"gzip",        "GZIP",        "deflate, gzip;q=0.5",
                                      "*",           "x-gzip",      "br;q=1, *;q=0.1",
                                      " gzip ; q=1", "gzip;Q=0.001"};
    static const char *const no[] = {"",        "identity",    "gzip;q=0", "gzip; q=0.000, *",
                                     "deflate", "gzipped, br", "*;q=0",    ",,,",
                                     ";;q",     "gzip;q=x"};
    CHECK(!gzip_wanted(NULL));
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (!gzip_wanted(yes[i])) {
            printf("    not wanted: %s\n", yes[i]);
            test_failures_++;
        }
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        if (gzip_wanted(no[i])) {
            printf("    wanted: %s\n", no[i]);
            test_failures_++;
        }
    }
}

static void compresses_what_inflates_to_the_same(void)
{
    struct exchange x;
    size_t n;
    static char out[200000];
    accepted = "gzip";
    reply_of(&x, sizeof out, HTTP_JSON);
    struct text before = {0};
    text_append(&before, x.response.body.data, x.response.body.length);
    exchange_header(&x, "Vary", "Accept");
    exchange_header(&x, "ETag", "\"abc\"");
    gzip_reply(&x);
    const void *bytes = exchange_reply(&x, &n);
    CHECK(n < sizeof out / 10);
    z_stream z = {.next_in = (z_const Bytef *)(uintptr_t)bytes,
                  .avail_in = (uInt)n,
                  .next_out = (Bytef *)out,
                  .avail_out = sizeof out};
    CHECK(inflateInit2(&z, 15 + 16) == Z_OK && inflate(&z, Z_FINISH) == Z_STREAM_END);
    CHECK(z.total_out == before.length && memcmp(out, before.data, before.length) == 0);
    (void)inflateEnd(&z);
    CHECK_STRING(found(&x, "Content-Encoding"), "gzip");
    CHECK_STRING(found(&x, "Vary"), "Accept, Accept-Encoding");
    CHECK_STRING(found(&x, "ETag"), "W/\"abc\"");
    text_free(&before);
    exchange_release(&x);
}

static void compresses_a_static_reply_and_leaves_its_bytes(void)
{
    struct exchange x;
    static const char page[4000] = "<!doctype html>";
    accepted = "gzip, deflate, br";
    reply_of(&x, 0, "text/html; charset=utf-8");
    x.response.static_body = page;
    x.response.static_length = sizeof page;
    gzip_reply(&x);
    size_t n;
    (void)exchange_reply(&x, &n);
    CHECK(n < 200 && !x.response.static_body && page[0] == '<');
    exchange_release(&x);
}

static void leaves_what_is_small_no_text_unasked_or_does_not_shrink(void)
{
    const struct {
        size_t n;
        const char *type, *accepted, *vary;
    } cases[] = {
        {GZIP_LEAST - 1, HTTP_JSON, "gzip", "(none)"},
        {GZIP_MOST + 1, HTTP_JSON, "gzip", "(none)"},
        {5000, "application/octet-stream", "gzip", "(none)"},
        {5000, "image/png", "gzip", "(none)"},
        {5000, HTTP_JSON, NULL, "Accept-Encoding"},
        {5000, HTTP_JSON, "br", "Accept-Encoding"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct exchange x;
        accepted = cases[i].accepted;
        reply_of(&x, cases[i].n, cases[i].type);
        gzip_reply(&x);
        CHECK(x.response.body.length == cases[i].n);
        CHECK_STRING(found(&x, "Content-Encoding"), "(none)");
        CHECK_STRING(found(&x, "Vary"), cases[i].vary);
        exchange_release(&x);
    }
    struct exchange x;
    unsigned noise = 1;
    accepted = "gzip";
    reply_of(&x, 2000, "text/plain");
    for (size_t i = 0; i < 2000; i++) {
        noise = noise * 1103515245u + 12345u;
        x.response.body.data[i] = (char)(noise >> 16);
    }
    gzip_reply(&x);
    CHECK(x.response.body.length == 2000);
    exchange_release(&x);
}

static void without_memory_the_reply_goes_out_as_it_is(void)
{
    struct exchange x;
    accepted = "gzip";
    reply_of(&x, 5000, HTTP_JSON);
    (void)memory_fail_after(1);
    gzip_reply(&x);
    (void)memory_fail_after(0);
    CHECK(x.response.body.length == 5000);
    CHECK_STRING(found(&x, "Content-Encoding"), "(none)");
    exchange_release(&x);
}

static const struct test tests[] = {
    TEST(reads_accept_encoding),
    TEST(compresses_what_inflates_to_the_same),
    TEST(compresses_a_static_reply_and_leaves_its_bytes),
    TEST(leaves_what_is_small_no_text_unasked_or_does_not_shrink),
    TEST(without_memory_the_reply_goes_out_as_it_is),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
