#include "server/http/request_log.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/http/router.h"
#include "tests/test.h"

#include <stdlib.h>

static const struct request_log *logged; /* by finished */
static int64_t took;

static void finished(struct exchange *x, size_t bytes)
{
    request_log_exchange(logged, x, bytes, took);
}

static enum http_next answer(struct exchange *x)
{
    exchange_header(x, "X-Darkmatter-Cache", "hit");
    text_string(&x->response.body, "{}");
    return HTTP_DONE;
}

static enum http_next fail(struct exchange *x)
{
    struct status st;
    status_set(&st, STATUS_IO, "lab.db: the disk is full");
    return exchange_fail(x, &st);
}

/* A stream whose first word came after 1.5 s, 0.7 s of them in the queue. */
static enum http_next stream(struct exchange *x)
{
    x->stream = stream_create();
    x->started_us = (int64_t)(clock_seconds() * 1e6) - 1500000;
    stream_begin(x->stream, 700000);
    CHECK(stream_frame(x->stream, "a", 1, true));
    stream_end(x->stream);
    return HTTP_STREAM;
}

static enum http_next wait_for_a_turn(struct exchange *x)
{
    x->queued_us = 12300;
    return HTTP_DONE;
}

static const struct route routes[] = {{"POST", "/v1/thing", answer, "", NULL},
                                      {"GET", "/v1/broken", fail, "", NULL},
                                      {"GET", "/v1/queued", wait_for_a_turn, "", NULL},
                                      {"GET", "/v1/stream", stream, "", NULL}};
static const struct router router = {.routes = routes,
                                     .n_routes = 4,
                                     .guard = {.secret = "s3cret-of-the-lab"},
                                     .body_limit = 1000,
                                     .finished = finished};

/* The line of one request; "" for none. */
static void line_of(enum request_log_format format, int slow_ms, int64_t us, const char *method,
                    const char *path, const char *id, char line[2048])
{
    char *bytes = NULL;
    size_t n = 0;
    char id_line[160] = "X-Other: 1";
    const char *headers[] = {"X-SECRET-KEY: s3cret-of-the-lab", id_line, NULL};
    if (id) {
        snprintf(id_line, sizeof id_line, "X-Request-Id: %s", id);
    }
    FILE *to = open_memstream(&bytes, &n);
    struct request_log log = {.format = format, .slow_ms = slow_ms, .to = to};
    logged = &log;
    took = us;
    struct exchange *x = exchange_run(&router, method, path, headers, "body-of-hers", 12);
    if (x) {
        CHECK_STRING(x->response.headers[5].name, "X-Request-Id");
        CHECK_STRING(x->response.headers[5].value, x->request_id);
        exchange_close(x);
    }
    fclose(to);
    snprintf(line, 2048, "%s", bytes);
    free(bytes);
}

static void a_request_is_one_line_of_text(void)
{
    char line[2048];
    line_of(REQUEST_LOG_TEXT, 1000, 14200, "POST", "/v1/thing?token=hidden", "trace-7", line);
    CHECK_CONTAINS(line, "Z info POST /v1/thing 200, 2 bytes in 14.2 ms, cache hit, id trace-7\n");
    CHECK(strlen(line) > 24 && line[4] == '-' && line[10] == 'T' && line[23] == 'Z');
    CHECK(strchr(line, '\n') == line + strlen(line) - 1);
}

static void a_request_is_one_json_object(void)
{
    char line[2048];
    line_of(REQUEST_LOG_JSON, 1000, 14200, "POST", "/v1/thing", "trace-7", line);
    cJSON *root;
    struct status st;
    REQUIRE_OK(json_parse(&root, line, strlen(line) - 1, "line", &st), st);
    CHECK_STRING(json_get(root, "event")->valuestring, "request");
    CHECK_STRING(json_get(root, "level")->valuestring, "info");
    CHECK_STRING(json_get(root, "id")->valuestring, "trace-7");
    CHECK_STRING(json_get(root, "method")->valuestring, "POST");
    CHECK_STRING(json_get(root, "path")->valuestring, "/v1/thing");
    CHECK_STRING(json_get(root, "route")->valuestring, "/v1/thing");
    CHECK_STRING(json_get(root, "cache")->valuestring, "hit");
    CHECK(json_get(root, "status")->valuedouble == 200);
    CHECK(json_get(root, "bytes")->valuedouble == 2);
    CHECK(json_get(root, "ms")->valuedouble == 14.2);
    CHECK(cJSON_IsFalse(json_get(root, "slow")));
    cJSON_Delete(root);
}

static void a_quiet_log_names_only_what_is_slow_or_failed(void)
{
    char line[2048];
    line_of(REQUEST_LOG_QUIET, 1000, 999999, "POST", "/v1/thing", NULL, line);
    CHECK_STRING(line, "");
    line_of(REQUEST_LOG_QUIET, 1000, 1000000, "POST", "/v1/thing", NULL, line);
    CHECK_CONTAINS(line, "warning slow POST /v1/thing 200, 2 bytes in 1000.0 ms");
    line_of(REQUEST_LOG_QUIET, 0, 99000000, "POST", "/v1/thing", NULL, line);
    CHECK_STRING(line, ""); /* 0: nothing is slow */
    line_of(REQUEST_LOG_QUIET, 1000, 10, "GET", "/nothing/here", NULL, line);
    CHECK_STRING(line, ""); /* a mistake of the caller */
    line_of(REQUEST_LOG_QUIET, 1000, 10, "GET", "/v1/broken", NULL, line);
    CHECK_CONTAINS(line, "error GET /v1/broken 500");
    CHECK_CONTAINS(line, "lab.db: the disk is full");
}

static void the_time_in_the_queue_is_told_from_that_of_the_work(void)
{
    char line[2048];
    line_of(REQUEST_LOG_TEXT, 1000, 14200, "GET", "/v1/queued", "q", line);
    CHECK_CONTAINS(line, " 200, 0 bytes in 14.2 ms (12.3 ms queued), id q\n");
    line_of(REQUEST_LOG_JSON, 1000, 14200, "GET", "/v1/queued", "q", line);
    CHECK_CONTAINS(line, "\"ms\":14.2,\"queued_ms\":12.3,\"slow\":false");
    line_of(REQUEST_LOG_JSON, 1000, 14200, "POST", "/v1/thing", "q", line);
    CHECK(!strstr(line, "queued_ms") && !strstr(line, "first_ms"));
}

static void a_stream_is_slow_by_its_first_word(void)
{
    char line[2048];
    line_of(REQUEST_LOG_QUIET, 1000, 60000000, "GET", "/v1/stream", "s", line);
    CHECK_CONTAINS(line, "warning slow GET /v1/stream 200");
    CHECK_CONTAINS(line, "in 60000.0 ms (700.0 ms queued), the first after 15");
    line_of(REQUEST_LOG_QUIET, 10000, 60000000, "GET", "/v1/stream", "s", line);
    CHECK_STRING(line, ""); /* as long as what it streams */
    line_of(REQUEST_LOG_JSON, 10000, 60000000, "GET", "/v1/stream", "s", line);
    CHECK_CONTAINS(line, "\"queued_ms\":700,\"first_ms\":15");
    CHECK_CONTAINS(line, "\"slow\":false");
}

static void secrets_queries_and_bodies_are_never_in_a_line(void)
{
    static const char *const never[] = {"s3cret", "hidden", "body-of-hers"};
    char line[2048];
    for (int format = REQUEST_LOG_TEXT; format <= REQUEST_LOG_JSON; format++) {
        line_of((enum request_log_format)format, 1, 5000000, "POST", "/v1/thing?token=hidden", NULL,
                line);
        for (int i = 0; i < 3; i++) {
            CHECK(strstr(line, never[i]) == NULL);
        }
    }
}

static void what_a_client_writes_cannot_forge_a_line(void)
{
    char line[2048];
    line_of(REQUEST_LOG_TEXT, 0, 10, "GET", "/a%0Ab%20c%1B%5B31m", "x y", line);
    CHECK_CONTAINS(line, "/a?b?c?[31m 404");
    CHECK(strstr(line, "x y") == NULL); /* no id that needs quoting is taken */
    CHECK(strchr(line, '\n') == line + strlen(line) - 1);
    line_of(REQUEST_LOG_JSON, 0, 10, "GET", "/a%0Ab%22", NULL, line);
    CHECK_CONTAINS(line, "\"path\":\"/a\\nb\\\"\"");
}

static void ids_of_clients_are_taken_if_they_are_plain(void)
{
    static const char *const plain[] = {"a", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "a.b_c:d"};
    char longer[66];
    memset(longer, 'a', 65);
    longer[65] = '\0';
    const char *const others[] = {"", "a b", "a\"b", "\xc3\xa4", longer};
    char line[2048], part[160];
    for (int i = 0; i < 3; i++) {
        line_of(REQUEST_LOG_TEXT, 0, 10, "POST", "/v1/thing", plain[i], line);
        snprintf(part, sizeof part, ", id %s\n", plain[i]);
        CHECK_CONTAINS(line, part);
    }
    char before[64] = "";
    for (int i = 0; i < 5; i++) {
        line_of(REQUEST_LOG_TEXT, 0, 10, "POST", "/v1/thing", others[i], line);
        const char *id = strstr(line, ", id ");
        REQUIRE(id && strchr(id, '-') && strspn(id + 5, "0123456789abcdef-\n") == strlen(id + 5));
        CHECK(strcmp(before, id) != 0); /* no two are the same */
        snprintf(before, sizeof before, "%s", id);
    }
}

static void messages_are_lines_too(void)
{
    char *bytes = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&bytes, &n);
    struct request_log log = {.format = REQUEST_LOG_TEXT, .to = to};
    request_log_message(&log, "note", "left out: x");
    request_log_message(&log, NULL, "stopping");
    log.format = REQUEST_LOG_JSON;
    request_log_message(&log, "note", "left out: \"x\"");
    log.to = NULL;
    request_log_message(&log, "note", "nowhere");
    fclose(to);
    CHECK_CONTAINS(bytes, "note: left out: x\nstopping\n{\"time\":\"");
    CHECK_CONTAINS(
        bytes, "\"level\":\"note\",\"event\":\"message\",\"message\":\"left out: \\\"x\\\"\"}\n");
    CHECK(strstr(bytes, "nowhere") == NULL);
    free(bytes);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(a_request_is_one_line_of_text),
        TEST(a_request_is_one_json_object),
        TEST(a_quiet_log_names_only_what_is_slow_or_failed),
        TEST(the_time_in_the_queue_is_told_from_that_of_the_work),
        TEST(a_stream_is_slow_by_its_first_word),
        TEST(secrets_queries_and_bodies_are_never_in_a_line),
        TEST(what_a_client_writes_cannot_forge_a_line),
        TEST(ids_of_clients_are_taken_if_they_are_plain),
        TEST(messages_are_lines_too),
    };
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
