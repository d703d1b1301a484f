#include "core/base/json.h"

#include "core/base/memory.h"
#include "scratch.h"
#include "test.h"

#include <limits.h>

static int code_of(const char *text, struct status *st)
{
    cJSON *root;
    int code = json_parse(&root, text, strlen(text), "body", st);
    CHECK((code == 0) == (root != NULL));
    cJSON_Delete(root);
    return code;
}

static void refuses(const char *text, const char *part)
{
    struct status st = {0};
    CHECK(code_of(text, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "body: ");
    CHECK_CONTAINS(st.message, part);
}

static void parses_documents_of_every_kind(void)
{
    struct status st = {0};
    static const char *const good[] = {
        "{}",           " [1, 2]\r\n\t", "null",
        "3.5e-2",       "\"\\u00e9\"",   "\xef\xbb\xbf{\"a\": {\"b\": 1}, \"c\": {\"b\": 1}}",
        "\"\\\\u0000\""};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(code_of(good[i], &st) == 0);
    }
}

static void refuses_syntax_errors_with_their_place(void)
{
    refuses("", "line 1, column 1");
    refuses("{\"a\": 1,\n \"b\" 2}", "line 2");
    refuses("{} x", "line 1, column 4");
    refuses("[1, 2", "not valid JSON");
    refuses("{\"a\": 01x}", "not valid JSON");
}

static void refuses_what_would_be_lost_without_a_word(void)
{
    refuses("{\"a\": 1, \"b\": [{\"k\": 1, \"k\": 2}]}", "\"k\" stands twice");
    refuses("{\"a\": \"x\\u0000y\"}", "U+0000");
    refuses("{\"a\\u0000\": 1}", "U+0000");
    refuses("[\"\xff\"]", "byte 2 is not valid UTF-8");
    struct status st = {0};
    cJSON *root;
    CHECK(json_parse(&root, "[1]\0", 4, "body", &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "byte 3 is U+0000");
}

static void refuses_deep_nesting_but_not_brackets_in_strings(void)
{
    char deep[2 * JSON_NESTING_LIMIT + 3] = {0};
    struct status st = {0};
    memset(deep, '[', JSON_NESTING_LIMIT);
    memset(deep + JSON_NESTING_LIMIT, ']', JSON_NESTING_LIMIT);
    CHECK(code_of(deep, &st) == 0);
    memset(deep, '[', JSON_NESTING_LIMIT + 1);
    memset(deep + JSON_NESTING_LIMIT + 1, ']', JSON_NESTING_LIMIT + 1);
    refuses(deep, "nested deeper than 64 levels");
    char quoted[300];
    memset(quoted, '[', sizeof quoted);
    quoted[0] = quoted[sizeof quoted - 2] = '"';
    quoted[sizeof quoted - 1] = '\0';
    CHECK(code_of(quoted, &st) == 0);
}

static void reads_whole_numbers_inside_their_bounds(void)
{
    struct status st = {0};
    cJSON *root;
    static const char text[] = "{\"n\": 5, \"f\": 5.5, \"s\": \"5\", \"big\": 9223372036854775808, "
                               "\"low\": -9223372036854775808, \"huge\": 1e999, \"null\": null}";
    long long n = 77;
    REQUIRE_OK(json_parse(&root, text, sizeof text - 1, "body", &st), st);
    CHECK(json_integer(json_get(root, "n"), 0, 5, &n) && n == 5);
    n = 77;
    CHECK(!json_integer(json_get(root, "n"), 0, 4, &n));
    CHECK(!json_integer(json_get(root, "n"), 6, 9, &n));
    CHECK(!json_integer(json_get(root, "f"), 0, 9, &n));
    CHECK(!json_integer(json_get(root, "s"), 0, 9, &n));
    CHECK(!json_integer(json_get(root, "big"), LLONG_MIN, LLONG_MAX, &n));
    CHECK(!json_integer(json_get(root, "huge"), LLONG_MIN, LLONG_MAX, &n));
    CHECK(!json_integer(NULL, 0, 9, &n));
    CHECK(n == 77);
    CHECK(json_integer(json_get(root, "low"), LLONG_MIN, LLONG_MAX, &n) && n == LLONG_MIN);
    CHECK(json_get(root, "null") == NULL && json_get(root, "N") == NULL);
    cJSON_Delete(root);
}

static void reads_files_up_to_a_limit(void)
{
    struct status st = {0};
    struct scratch s;
    cJSON *root;
    scratch_open(&s);
    scratch_text(&s, "x.json", "{\"a\": 1}");
    REQUIRE_OK(json_parse_file(&root, scratch_path(&s, "x.json"), 8, &st), st);
    CHECK(json_get(root, "a") != NULL);
    cJSON_Delete(root);
    CHECK(json_parse_file(&root, s.path, 7, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "x.json: expected at most 7 bytes, found 8");
    scratch_text(&s, "x.json", "");
    CHECK(json_parse_file(&root, s.path, 7, &st) == STATUS_INVALID);
    CHECK(json_parse_file(&root, scratch_path(&s, "none"), 7, &st) == STATUS_NOT_FOUND);
    CHECK(root == NULL);
    scratch_close(&s);
}

static const struct test tests[] = {
    TEST(parses_documents_of_every_kind),
    TEST(refuses_syntax_errors_with_their_place),
    TEST(refuses_what_would_be_lost_without_a_word),
    TEST(refuses_deep_nesting_but_not_brackets_in_strings),
    TEST(reads_whole_numbers_inside_their_bounds),
    TEST(reads_files_up_to_a_limit),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
