#include "core/dashboard/label.h"

#include "tests/test.h"

static const char *const words[] = {" there", " There", "\n", "a\"b\\", "\x01", " is", " was", "t"};

static void word(void *user, int32_t id, struct text *out)
{
    (void)user;
    text_string(out, words[id]);
}

static void check(const int32_t *fired, size_t n, const int32_t *promoted, size_t n_promoted,
                  const char *expected)
{
    struct text out = {0};
    label_write(&out, fired, n, promoted, n_promoted, word, NULL);
    CHECK_STRING(out.data ? out.data : "", expected);
    text_free(&out);
}

static void names_what_fires_it_and_what_it_promotes(void)
{
    const int32_t fired[] = {1, 0, 0};
    const int32_t promoted[] = {5, 6};
    check(fired, 3, promoted, 2, "\" there\", \" There\" -> \" is\", \" was\"");
}

static void puts_frequent_tokens_first_and_among_equals_the_stronger(void)
{
    const int32_t fired[] = {0, 1, 1, 0, 5, 6, 6, 6};
    check(fired, 8, NULL, 0, "\" was\", \" there\", \" There\"");
}

static void says_at_most_three_of_each(void)
{
    const int32_t ids[] = {0, 1, 5, 6, 7};
    check(ids, 5, ids, 5, "\" there\", \" There\", \" is\" -> \" there\", \" There\", \" is\"");
}

static void escapes_quotes_and_control_characters(void)
{
    const int32_t fired[] = {2, 3, 4};
    check(fired, 3, NULL, 0, "\"\\n\", \"a\\\"b\\\\\", \"\\x01\"");
}

static void is_empty_where_nothing_fired(void)
{
    const int32_t promoted[] = {5};
    check(NULL, 0, promoted, 1, "");
}

static void looks_at_no_more_than_it_says(void)
{
    int32_t fired[LABEL_FIRED + 4];
    for (size_t i = 0; i < LABEL_FIRED + 4; i++) {
        fired[i] = i < LABEL_FIRED ? 0 : 1;
    }
    check(fired, LABEL_FIRED + 4, NULL, 0, "\" there\"");
}

static const struct test tests[] = {
    TEST(names_what_fires_it_and_what_it_promotes),
    TEST(puts_frequent_tokens_first_and_among_equals_the_stronger),
    TEST(says_at_most_three_of_each),
    TEST(escapes_quotes_and_control_characters),
    TEST(is_empty_where_nothing_fired),
    TEST(looks_at_no_more_than_it_says),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
