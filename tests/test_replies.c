#include "server/http/replies.h"

#include "core/base/memory.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static void ask(struct exchange *x, const char *target, const char *body)
{
    exchange_open(x, NULL);
    exchange_target(x, target);
    x->request.body = body;
    x->request.body_length = body ? strlen(body) : 0;
}

static void keep(struct replies *r, const char *target, const char *body, const char *reply,
                 int64_t state, int64_t note)
{
    struct exchange x;
    ask(&x, target, body);
    text_string(&x.response.body, reply);
    replies_keep(r, &x, state, note);
    exchange_release(&x);
}

/* The reply, "" for none. */
static const char *take(struct replies *r, const char *target, const char *body, int64_t state,
                        int64_t *note)
{
    static char reply[4096];
    struct exchange x;
    ask(&x, target, body);
    reply[0] = '\0';
    if (replies_take(r, &x, state, note)) {
        size_t n;
        const char *bytes = exchange_reply(&x, &n);
        (void)snprintf(reply, sizeof reply, "%.*s", (int)n, bytes);
    }
    exchange_release(&x);
    return reply;
}

static void gives_the_same_request_the_same_reply(void)
{
    struct status st = {0};
    struct replies *r;
    int64_t note = 0;
    REQUIRE_OK(replies_create(&r, 1 << 20, &st), st);
    keep(r, "/a?b=1", NULL, "page", 3, 17);
    keep(r, "/v1", "{\"x\": 1}", "one", 0, 1);
    keep(r, "/v1", "{\"x\": 2}", "two", 0, 2);
    CHECK_STRING(take(r, "/a?b=1", NULL, 3, &note), "page");
    CHECK(note == 17);
    CHECK_STRING(take(r, "/v1", "{\"x\": 1}", 0, &note), "one");
    CHECK_STRING(take(r, "/v1", "{\"x\": 2}", 0, &note), "two");
    CHECK(note == 2);
    CHECK_STRING(take(r, "/v1", "{\"x\": 3}", 0, &note), "");
    CHECK_STRING(take(r, "/a?b=2", NULL, 3, &note), "");
    CHECK_STRING(take(r, "/a", NULL, 3, &note), "");
    keep(r, "/v1", "{\"x\": 1}", "newer", 0, 1);
    CHECK_STRING(take(r, "/v1", "{\"x\": 1}", 0, &note), "newer");
    replies_destroy(r);
}

/* "/ab" with the body "c" is not "/a" with "bc", though their bytes follow one another alike. */
static void knows_where_the_target_ends(void)
{
    struct status st = {0};
    struct replies *r;
    int64_t note;
    REQUIRE_OK(replies_create(&r, 1 << 20, &st), st);
    keep(r, "/ab", "c", "one", 0, 0);
    CHECK_STRING(take(r, "/a", "bc", 0, &note), "");
    CHECK_STRING(take(r, "/ab", "c", 0, &note), "one");
    replies_destroy(r);
}

static void forgets_what_was_said_in_another_state(void)
{
    struct status st = {0};
    struct replies *r;
    int64_t note;
    REQUIRE_OK(replies_create(&r, 1 << 20, &st), st);
    keep(r, "/a", NULL, "old", 1, 0);
    CHECK_STRING(take(r, "/a", NULL, 2, &note), "");
    CHECK_STRING(take(r, "/a", NULL, 1, &note), ""); /* not even if the state came back */
    replies_destroy(r);
}

static void keeps_what_was_asked_for_last_within_its_budget(void)
{
    enum { BUDGET = 64000, BODY = 3000, N = 40 };
    static char body[BODY + 1];
    struct status st = {0};
    struct replies *r;
    int64_t note;
    char target[32];
    memset(body, 'x', BODY);
    REQUIRE_OK(replies_create(&r, BUDGET, &st), st);
    for (int i = 0; i < N; i++) {
        (void)snprintf(target, sizeof target, "/%d", i);
        keep(r, target, NULL, body, 0, i);
        CHECK_STRING(take(r, "/0", NULL, 0, &note), body); /* asked for all the time */
    }
    int found = 0;
    for (int i = 0; i < N; i++) {
        (void)snprintf(target, sizeof target, "/%d", i);
        found += take(r, target, NULL, 0, &note)[0] != '\0';
    }
    CHECK(found >= 15 && found <= BUDGET / BODY);
    CHECK_STRING(take(r, "/1", NULL, 0, &note), "");
    CHECK_STRING(take(r, "/39", NULL, 0, &note), body);
    replies_destroy(r);
}

static void keeps_no_errors_and_nothing_large(void)
{
    static char body[9000];
    struct status st = {0};
    struct replies *r;
    int64_t note;
    struct exchange x;
    REQUIRE_OK(replies_create(&r, 64000, &st), st);
    memset(body, 'x', sizeof body - 1);
    keep(r, "/large", NULL, body, 0, 0);
    CHECK_STRING(take(r, "/large", NULL, 0, &note), "");
    ask(&x, "/wrong", NULL);
    (void)exchange_error(&x, 404, "nothing here");
    replies_keep(r, &x, 0, 0);
    exchange_release(&x);
    CHECK_STRING(take(r, "/wrong", NULL, 0, &note), "");
    replies_destroy(r);
    CHECK_STRING(take(NULL, "/a", NULL, 0, &note), ""); /* where none are kept */
    keep(NULL, "/a", NULL, "x", 0, 0);
}

/* One that is being sent stays, whatever becomes of the others. */
static void holds_a_reply_until_its_exchange_ends(void)
{
    struct status st = {0};
    struct replies *r;
    struct exchange x;
    int64_t note;
    size_t n;
    REQUIRE_OK(replies_create(&r, 1 << 20, &st), st);
    keep(r, "/a", NULL, "being sent", 1, 0);
    ask(&x, "/a", NULL);
    REQUIRE(replies_take(r, &x, 1, &note));
    CHECK_STRING(take(r, "/a", NULL, 2, &note), ""); /* forgotten meanwhile */
    replies_destroy(r);
    CHECK(memcmp(exchange_reply(&x, &n), "being sent", 10) == 0 && n == 10);
    exchange_release(&x);
}

static void goes_without_where_there_is_no_memory(void)
{
    struct status st = {0};
    struct replies *r;
    struct exchange x;
    int64_t note;
    memory_fail_after(1);
    CHECK(replies_create(&r, 1 << 20, &st) == STATUS_MEMORY);
    memory_fail_after(0);
    REQUIRE_OK(replies_create(&r, 1 << 20, &st), st);
    ask(&x, "/a", NULL);
    text_string(&x.response.body, "reply");
    memory_fail_after(1);
    replies_keep(r, &x, 0, 0);
    memory_fail_after(0);
    exchange_release(&x);
    CHECK_STRING(take(r, "/a", NULL, 0, &note), "");
    replies_destroy(r);
}

static const struct test tests[] = {
    TEST(gives_the_same_request_the_same_reply),
    TEST(knows_where_the_target_ends),
    TEST(forgets_what_was_said_in_another_state),
    TEST(keeps_what_was_asked_for_last_within_its_budget),
    TEST(keeps_no_errors_and_nothing_large),
    TEST(holds_a_reply_until_its_exchange_ends),
    TEST(goes_without_where_there_is_no_memory),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
