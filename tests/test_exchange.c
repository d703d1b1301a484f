#include "server/http/exchange.h"

#include "core/base/memory.h"
#include "server/http/router.h"
#include "tests/test.h"

#include <pthread.h>
#include <unistd.h>

/* --- handlers that show what they were given ------------------------------------------------ */

static enum http_next show_query(struct exchange *x)
{
    const char *q = x->request.query(&x->request, "q");
    const char *empty = x->request.query(&x->request, "empty");
    text_printf(&x->response.body, "[%s][%s]", q ? q : "absent", empty ? empty : "absent");
    return HTTP_DONE;
}

static enum http_next show_header(struct exchange *x)
{
    const char *value = x->request.header(&x->request, "x-thing");
    text_string(&x->response.body, value ? value : "absent");
    return HTTP_DONE;
}

static enum http_next need_json(struct exchange *x)
{
    cJSON *root = exchange_json(x);
    if (!root) {
        return HTTP_DONE;
    }
    text_string(&x->response.body, "object");
    cJSON_Delete(root);
    return HTTP_DONE;
}

/* --- a handler that waits twice for another thread ------------------------------------------- */

struct waiting {
    int rounds;
    pthread_t thread;
    bool joined;
};

static int freed_states;

static void free_waiting(void *state)
{
    freed_states++;
    memory_free(state);
}

static void *wake_later(void *argument)
{
    struct exchange *x = argument;
    usleep(1000);
    exchange_wake(x);
    return NULL;
}

static void start_waiting(struct exchange *x)
{
    struct waiting *w = x->state;
    CHECK(pthread_create(&w->thread, NULL, wake_later, x) == 0);
}

static enum http_next resume_waiting(struct exchange *x)
{
    struct waiting *w = x->state;
    pthread_join(w->thread, NULL);
    if (++w->rounds < 2) {
        return HTTP_WAIT;
    }
    text_printf(&x->response.body, "%d rounds", w->rounds);
    return HTTP_DONE;
}

static enum http_next wait_twice(struct exchange *x)
{
    x->state = memory_zalloc(1, sizeof(struct waiting));
    x->free_state = free_waiting;
    x->start = start_waiting;
    x->resume = resume_waiting;
    return HTTP_WAIT;
}

static enum http_next wait_for_nothing(struct exchange *x)
{
    x->start = exchange_wake; /* woken before start returns */
    x->resume = show_query;
    return HTTP_WAIT;
}

static enum http_next fail_busy(struct exchange *x)
{
    struct status st;
    text_string(&x->response.body, "half a reply");
    status_set(&st, STATUS_BUSY, "the queue is full (%d)", 8);
    return exchange_fail(x, &st);
}

static enum http_next break_headers(struct exchange *x)
{
    exchange_header(x, "X-Name", "a\r\nSet-Cookie: b");
    exchange_header(x, "x-other", "first");
    exchange_header(x, "X-Other", "second");
    for (int i = 0; i < 2 * HTTP_HEADERS; i++) {
        static const char *const names[] = {"A", "B", "C", "D", "E", "F", "G", "H",
                                            "I", "J", "K", "L", "M", "N", "O", "P"};
        exchange_header(x, names[i % 16], "%d", i);
    }
    return HTTP_DONE;
}

static const struct route routes[] = {
    {"GET", "/query", show_query, ""},         {"GET", "/header", show_header, ""},
    {"POST", "/json", need_json, ""},          {"GET", "/wait", wait_twice, ""},
    {"GET", "/at-once", wait_for_nothing, ""}, {"GET", "/busy", fail_busy, ""},
    {"GET", "/headers", break_headers, ""},
};

static const struct router router = {
    .routes = routes, .n_routes = sizeof routes / sizeof *routes, .body_limit = 1 << 20};

static const char *response_header(const struct exchange *x, const char *name)
{
    for (size_t i = 0; i < x->response.n_headers; i++) {
        if (strcmp(x->response.headers[i].name, name) == 0) {
            return x->response.headers[i].value;
        }
    }
    return NULL;
}

static void check_get(const char *target, int status, const char *part)
{
    struct exchange *x = exchange_run(&router, "GET", target, NULL, NULL, 0);
    REQUIRE(x != NULL);
    CHECK(x->response.status == status);
    CHECK_CONTAINS(x->response.body.data, part);
    exchange_close(x);
}

static void check_json(const char *body, size_t n, int status, const char *part)
{
    struct exchange *x = exchange_run(&router, "POST", "/json", NULL, body, n);
    REQUIRE(x != NULL);
    CHECK(x->response.status == status);
    CHECK_CONTAINS(x->response.body.data, part);
    exchange_close(x);
}

/* --- the tests ------------------------------------------------------------------------------ */

static void gives_handlers_the_decoded_query(void)
{
    check_get("/query?q=a+b%2Bc%26d&empty=", 200, "[a b+c&d][]");
    check_get("/query", 200, "[absent][absent]");
}

static void an_address_that_cannot_be_decoded_is_400(void)
{
    check_get("/query?q=%", 400, "{\"error\":\"the address ");
    check_get("*", 400, "{\"error\":\"the address ");
}

static void finds_headers_whatever_their_case(void)
{
    static const char *const headers[] = {"X-Thin: no", "X-THING:  yes", NULL};
    struct exchange *x = exchange_run(&router, "GET", "/header", headers, NULL, 0);
    REQUIRE(x != NULL);
    CHECK_STRING(x->response.body.data, "yes");
    exchange_close(x);
    check_get("/header", 200, "absent");
}

static void takes_one_json_object_and_nothing_else(void)
{
    check_json("{\"a\":1}", 7, 200, "object");
    check_json(NULL, 0, 400, "{\"error\":\"body: expected a JSON object, found nothing\"}");
    check_json("", 0, 400, "found nothing");
    check_json("[1]", 3, 400, "found an array");
    check_json("\"s\"", 3, 400, "found a string");
    check_json("17", 2, 400, "found a number");
    check_json("true", 4, 400, "found true or false");
    check_json("null", 4, 400, "found null");
    check_json("{\"a\":", 5, 400, "body: not valid JSON at line 1");
    check_json("{\"a\":1}\0", 8, 400, "U+0000");
    check_json("{\"a\":\"\xFF\"}", 9, 400, "not valid UTF-8");
}

static void each_code_has_its_http_status(void)
{
    static const struct {
        enum status_code code;
        int status;
    } table[] = {
        {STATUS_OK, 200},        {STATUS_INVALID, 400},       {STATUS_NOT_FOUND, 404},
        {STATUS_TOO_LARGE, 413}, {STATUS_UNPROCESSABLE, 422}, {STATUS_UNSUPPORTED, 501},
        {STATUS_BUSY, 503},      {STATUS_CANCELLED, 503},     {STATUS_MEMORY, 500},
        {STATUS_IO, 500},        {STATUS_CORRUPT, 500},       {STATUS_INTERNAL, 500},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        CHECK(exchange_http_status(table[i].code) == table[i].status);
    }
}

static void a_busy_server_says_when_to_come_back(void)
{
    struct exchange *x = exchange_run(&router, "GET", "/busy", NULL, NULL, 0);
    REQUIRE(x != NULL);
    CHECK(x->response.status == 503);
    CHECK_STRING(x->response.body.data, "{\"error\":\"the queue is full (8)\"}");
    CHECK_STRING(response_header(x, "Retry-After"), "1");
    exchange_close(x);
}

static void waits_as_often_as_the_handler_asks(void)
{
    freed_states = 0;
    check_get("/wait", 200, "2 rounds");
    CHECK(freed_states == 1);
}

static void a_wake_before_start_returns_is_not_lost(void)
{
    check_get("/at-once?q=x", 200, "[x]");
}

static void headers_cannot_be_split_and_are_set_once(void)
{
    struct exchange *x = exchange_run(&router, "GET", "/headers", NULL, NULL, 0);
    REQUIRE(x != NULL);
    CHECK_STRING(response_header(x, "X-Name"), "a??Set-Cookie: b");
    CHECK_STRING(response_header(x, "X-Other"), "second");
    CHECK(response_header(x, "x-other") == NULL);
    CHECK(x->response.n_headers == HTTP_HEADERS);
    exchange_close(x);
}

static void a_reply_without_memory_is_a_short_500(void)
{
    struct exchange x;
    exchange_open(&x, NULL);
    text_string(&x.response.body, "half");
    x.response.body.failed = true;
    exchange_settle(&x);
    size_t length;
    const char *reply = exchange_reply(&x, &length);
    CHECK(x.response.status == 500);
    CHECK_CONTAINS(reply, "{\"error\":\"out of memory");
    CHECK(length == strlen(reply));
    exchange_release(&x);
}

static void ids_differ(void)
{
    struct exchange a, b;
    exchange_open(&a, NULL);
    exchange_open(&b, NULL);
    CHECK(a.id != b.id);
    CHECK(b.started_us >= a.started_us);
    exchange_release(&a);
    exchange_release(&b);
}

static const struct test tests[] = {
    TEST(gives_handlers_the_decoded_query),
    TEST(an_address_that_cannot_be_decoded_is_400),
    TEST(finds_headers_whatever_their_case),
    TEST(takes_one_json_object_and_nothing_else),
    TEST(each_code_has_its_http_status),
    TEST(a_busy_server_says_when_to_come_back),
    TEST(waits_as_often_as_the_handler_asks),
    TEST(a_wake_before_start_returns_is_not_lost),
    TEST(headers_cannot_be_split_and_are_set_once),
    TEST(a_reply_without_memory_is_a_short_500),
    TEST(ids_differ),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
