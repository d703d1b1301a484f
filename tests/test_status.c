#include "core/base/status.h"

#include "test.h"

static void keeps_the_code_and_the_sentence(void)
{
    struct status st = {0};
    CHECK(status_set(&st, STATUS_CORRUPT, "%s: expected %d, found %d", "file", 1, 2) ==
          STATUS_CORRUPT);
    CHECK(st.code == STATUS_CORRUPT);
    CHECK_STRING(st.message, "file: expected 1, found 2");
    status_clear(&st);
    CHECK(st.code == STATUS_OK && st.message[0] == '\0');
}

static void prefixes_what_is_there(void)
{
    struct status st = {0};
    (void)status_set(&st, STATUS_IO, "gone");
    CHECK(status_prefix(&st, "source %d", 7) == STATUS_IO);
    CHECK_STRING(st.message, "source 7: gone");
}

static void cuts_long_sentences_at_the_end_of_the_buffer(void)
{
    struct status st = {0};
    char lots[2000];
    memset(lots, 'x', sizeof lots - 1);
    lots[sizeof lots - 1] = '\0';
    CHECK(status_set(&st, STATUS_INVALID, "%s", lots) == STATUS_INVALID);
    CHECK(strlen(st.message) == sizeof st.message - 1);
    CHECK(status_prefix(&st, "p") == STATUS_INVALID);
    CHECK(strlen(st.message) == sizeof st.message - 1);
    CHECK(strncmp(st.message, "p: xxx", 6) == 0);
    CHECK(status_prefix(&st, "%s", lots) == STATUS_INVALID);
    CHECK(strlen(st.message) == sizeof st.message - 1);
    CHECK(strncmp(st.message, "xxx", 3) == 0);
}

static void says_how_much_memory_was_wanted(void)
{
    struct status st = {0};
    CHECK(status_no_memory(&st, 12345) == STATUS_MEMORY);
    CHECK_CONTAINS(st.message, "12345 bytes");
}

static const struct test tests[] = {
    TEST(keeps_the_code_and_the_sentence),
    TEST(prefixes_what_is_there),
    TEST(cuts_long_sentences_at_the_end_of_the_buffer),
    TEST(says_how_much_memory_was_wanted),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
