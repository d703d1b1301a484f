#include "server/http/target.h"

#include "core/base/memory.h"
#include "tests/test.h"

static void check_query(const char *target, const char *path, const char *expected)
{
    char *decoded;
    size_t length;
    struct status st;
    REQUIRE_OK(target_decode(&decoded, &length, target, &st), st);
    CHECK_STRING(decoded, path);
    const char *q = target_query(decoded, length, "q");
    CHECK_STRING(q ? q : "absent", expected);
    memory_free(decoded);
}

static void decodes_path_and_query(void)
{
    check_query("/query?q=a+b%2Bc%26d&empty=", "/query", "a b+c&d");
    check_query("/a+b%20c?q=1", "/a+b c", "1");
    check_query("/query?empty&q", "/query", "");
    check_query("/query", "/query", "absent");
    check_query("/query?", "/query", "absent");
    check_query("/query?q=1&q=2", "/query", "1");
    check_query("/query?x=q&q=z%3D=", "/query", "z==");
    check_query("/query?&&q=&", "/query", "");
    check_query("/query?a?q=1&q=h%C3%A9", "/query", "h\xC3\xA9");
    check_query("/%71uery%3Fx?%71=1", "/query?x", "1");
    check_query("/?q=1=2", "/", "1=2");
}

static void refuses_what_cannot_be_decoded(void)
{
    static const char *const bad[] = {"/%",        "/%2",          "/%zz",   "/query?q=%",
                                      "/query?%4", "/query?a=%0g", "/a%00b", "/?a&%"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *decoded;
        size_t length;
        struct status st;
        CHECK(target_decode(&decoded, &length, bad[i], &st) == STATUS_INVALID);
        CHECK_CONTAINS(st.message, "hexadecimal");
        CHECK_CONTAINS(st.message, bad[i]);
        CHECK(decoded == NULL);
    }
}

static void refuses_what_does_not_begin_with_a_slash(void)
{
    static const char *const bad[] = {"", "*", "query", "http://localhost/query"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *decoded;
        size_t length;
        struct status st;
        CHECK(target_decode(&decoded, &length, bad[i], &st) == STATUS_INVALID);
        CHECK_CONTAINS(st.message, "does not begin with /");
        CHECK(decoded == NULL);
    }
}

/* The block is sized for the worst case: nothing but separators. */
static void separators_alone_stay_within_the_block(void)
{
    char target[2000];
    memset(target, '&', sizeof target);
    memcpy(target, "/?", 2);
    target[sizeof target - 1] = '\0';
    check_query(target, "/", "absent");
}

static const struct test tests[] = {
    TEST(decodes_path_and_query),
    TEST(refuses_what_cannot_be_decoded),
    TEST(refuses_what_does_not_begin_with_a_slash),
    TEST(separators_alone_stay_within_the_block),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
