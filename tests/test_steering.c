/* Steering over real sockets: streams that end, clients that leave, and who is answered meanwhile.
 */
#include "server/http/server.h"
#include "tests/http_server.h"
#include "tests/v1.h"

enum { TOKENS = 240 };

static const char request[] =
    "{\"tokens\":[2,908,270,3378],\"types\":[\"STEERED\",\"DEFAULT\"],"
    "\"features\":[{\"source\":\"2-gemmascope-res-2k\",\"index\":251,\"strength\":40}],"
    "\"n_completion_tokens\":%d,\"stream\":%s}";

struct site {
    struct v1 v;
    struct http_server *http;
};

static bool site_open(struct site *s)
{
    struct status st = {0};
    if (!v1_open(&s->v, V1_DEMO)) {
        return false;
    }
    struct http_options options = {.host = "127.0.0.1"};
    if (http_server_start(&s->http, &options, &s->v.router, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
        v1_close(&s->v);
        return false;
    }
    return true;
}

static void site_close(struct site *s)
{
    CHECK(wait_for_active(s->http, 0));
    http_server_stop(s->http);
    v1_close(&s->v);
}

static uint64_t computed(const struct site *s)
{
    return engine_tokens_computed(s->v.app.engine);
}

static struct client ask(const struct site *s, int tokens, bool stream, const char *headers)
{
    char body[512];
    (void)snprintf(body, sizeof body, request, tokens, stream ? "true" : "false");
    struct client c = dial(http_server_port(s->http));
    CHECK(send_request(&c, "POST /v1/steer/completion", headers, body));
    return c;
}

static size_t frames(const struct text *in)
{
    size_t n = 0;
    for (const char *at = in->data; at && (at = strstr(at, "data: {")) != NULL; at++) {
        n++;
    }
    return n;
}

/* The other end's process is told by the kernel at once; what is under way may be finished. */
static void check_freed(struct site *s, uint64_t at_close)
{
    CHECK(wait_for_active(s->http, 0));
    for (int i = 0; i < 2; i++) { /* whatever was under way is over once this is answered */
        struct v1_answer a = v1_post(&s->v, "/v1/trace", "{\"tokens\":[2],\"read\":[\"embed\"]}");
        CHECK(a.status == 200);
        v1_free(&a);
    }
    uint64_t after = computed(s) - 2; /* the two of our own */
    CHECK(at_close < 2 * (4 + TOKENS) - 40);
    if (after - at_close > 4) { /* two texts, two tokens each */
        printf("    %llu tokens at the close, %llu after it\n", (unsigned long long)at_close,
               (unsigned long long)after);
    }
    CHECK(after - at_close <= 4);
}

static void a_stream_that_is_cut_frees_the_worker_within_two_tokens(void)
{
    struct site s;
    REQUIRE(site_open(&s));
    struct client c = ask(&s, TOKENS, true, "");
    while (frames(&c.in) < 2 && receive_more(&c)) {
    }
    CHECK(frames(&c.in) >= 2);
    hang_up(&c);
    check_freed(&s, computed(&s));
    site_close(&s);
}

/* The lens streams one line a token, the first ones before anything is computed. */
static void a_lens_that_is_cut_frees_the_worker(void)
{
    struct site s;
    REQUIRE(site_open(&s));
    struct client c = dial(http_server_port(s.http));
    char body[128];
    (void)snprintf(body, sizeof body, "{\"tokens\":[2,908,270,3378],\"num_completion_tokens\":%d}",
                   TOKENS);
    CHECK(send_request(&c, "POST /v1/lens/prompt", "", body));
    while (!(c.in.data && strstr(c.in.data, "\"position\":5,")) && receive_more(&c)) {
    }
    CHECK(c.in.data && strcasestr(c.in.data, "Content-Type: application/x-ndjson"));
    CHECK(c.in.data && strstr(c.in.data, "\"kind\":\"prompt\""));
    hang_up(&c);
    check_freed(&s, computed(&s));
    site_close(&s);
}

/* 100 positions, 200 KB each: a client who reads late gets every one. */
static void a_lens_leaves_no_frame_out_for_a_slow_client(void)
{
    struct site s;
    REQUIRE(site_open(&s));
    struct client c = dial(http_server_port(s.http));
    int small = 65536; /* what the kernel keeps for us */
    CHECK(setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
    struct text body = {0};
    text_string(&body, "{\"top_n\":100,\"sites\":[\"resid_pre\",\"attn_out\",\"resid_mid\","
                       "\"mlp_out\",\"resid_post\"],\"tokens\":[2");
    for (int i = 1; i < 100; i++) {
        text_printf(&body, ",%d", 300 + i);
    }
    text_string(&body, "]}");
    CHECK(send_request(&c, "POST /v1/lens/prompt", "Connection: close\r\n", body.data));
    for (int i = 0; i < 5000 && queue_depth(s.v.app.queue) == 0 && computed(&s) < 100; i++) {
        usleep(1000);
    }
    usleep(1000000); /* frames wait meanwhile */
    while (receive_more(&c)) {
    }
    size_t n = 0;
    for (const char *at = c.in.data; at && (at = strstr(at, "{\"kind\":\"token\"")); at++) {
        n++;
    }
    CHECK(c.in.length > (size_t)8 << 20);
    CHECK(n == 100 && strstr(c.in.data, "\"kind\":\"done\""));
    text_free(&body);
    hang_up(&c);
    site_close(&s);
}

static void a_client_that_leaves_while_it_waits_frees_the_worker_too(void)
{
    struct site s;
    REQUIRE(site_open(&s));
    struct client c = ask(&s, TOKENS, false, "");
    for (int i = 0; i < 5000 && computed(&s) < 12; i++) {
        usleep(200);
    }
    hang_up(&c);
    check_freed(&s, computed(&s));
    site_close(&s);
}

static void a_stream_says_the_whole_text_and_ends(void)
{
    struct site s;
    REQUIRE(site_open(&s));
    struct client c = ask(&s, 12, true, "Connection: close\r\n");
    while (receive_more(&c)) {
    }
    REQUIRE(c.in.data != NULL);
    CHECK_CONTAINS(c.in.data, "HTTP/1.1 200");
    CHECK(strcasestr(c.in.data, "Content-Type: text/event-stream") != NULL);
    CHECK(strcasestr(c.in.data, "Cache-Control: no-cache") != NULL);
    CHECK(frames(&c.in) == 12);
    hang_up(&c);
    struct client whole = ask(&s, 12, false, "");
    struct reply reply;
    REQUIRE(receive(&whole, true, &reply));
    CHECK(reply.status == 200);
    text_free(&reply.body);
    hang_up(&whole);
    site_close(&s);
}

static void others_are_answered_while_a_text_is_continued(void)
{
    struct site s;
    REQUIRE(site_open(&s));
    struct client c = ask(&s, TOKENS, true, "");
    while (frames(&c.in) < 1 && receive_more(&c)) {
    }
    struct v1_answer a =
        v1_post(&s.v, "/v1/activation/single",
                "{\"tokens\":[2,908,270],\"source\":\"2-gemmascope-res-2k\",\"index\":1}");
    CHECK(a.status == 200);
    CHECK(computed(&s) < 2 * (4 + TOKENS)); /* the text is not done */
    v1_free(&a);
    hang_up(&c);
    site_close(&s);
}

static void many_texts_take_turns_and_all_end(void)
{
    struct site s;
    REQUIRE(site_open(&s));
    enum { CLIENTS = 9 };
    struct client clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        char body[128];
        (void)snprintf(body, sizeof body,
                       "{\"tokens\":[2,%d],\"types\":[\"DEFAULT\"],\"n_completion_tokens\":%d}",
                       900 + i, 3 + i);
        clients[i] = dial(http_server_port(s.http));
        CHECK(send_request(&clients[i], "POST /v1/steer/completion", "", body));
    }
    for (int i = 0; i < CLIENTS; i++) {
        expect(&clients[i], 200, "\"DEFAULT\"");
        hang_up(&clients[i]);
    }
    site_close(&s);
}

static void a_server_that_stops_ends_its_streams(void)
{
    struct site s;
    REQUIRE(site_open(&s));
    struct client c = ask(&s, TOKENS, true, "Connection: close\r\n");
    while (frames(&c.in) < 1 && receive_more(&c)) {
    }
    queue_stop(s.v.app.queue);
    while (receive_more(&c)) {
    }
    CHECK_CONTAINS(c.in.data, "the server is stopping");
    CHECK(computed(&s) < 2 * (4 + TOKENS));
    hang_up(&c);
    site_close(&s);
}

static const struct test tests[] = {
    TEST(a_stream_that_is_cut_frees_the_worker_within_two_tokens),
    TEST(a_lens_that_is_cut_frees_the_worker),
    TEST(a_lens_leaves_no_frame_out_for_a_slow_client),
    TEST(a_client_that_leaves_while_it_waits_frees_the_worker_too),
    TEST(a_stream_says_the_whole_text_and_ends),
    TEST(others_are_answered_while_a_text_is_continued),
    TEST(many_texts_take_turns_and_all_end),
    TEST(a_server_that_stops_ends_its_streams),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
