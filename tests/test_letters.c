/* Which tokens are words. */
#include "core/base/letters.h"
#include "tests/test.h"

static void knows_letters_and_numbers_of_every_script(void)
{
    static const uint32_t in[] = {'0',   '9',    'A',    'z',     0xAA,    0xBC,   0x3B1,
                                  0x915, 0x4E00, 0xAC00, 0x1D400, 0x20000, 0x31340};
    static const uint32_t out[] = {0,      ' ',     '/',      ':',       '@',   '[',
                                   '_',    0xA0,    0x2019,   0x93E,     0x300, 0x2581,
                                   0xFFFD, 0x1F600, 0x10FFFF, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
        CHECK(letters_has(in[i]));
    }
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++) {
        CHECK(!letters_has(out[i]));
    }
}

static void tells_words_from_other_tokens(void)
{
    static const char *const words[] = {"God",   " the",          "\n\xC3\xA9t\xC3\xA9 ",
                                        "don't", "a-b",           "a--b",
                                        "1984",  " \xE4\xB8\x80", "l\xE2\x80\x99\x65\x61u"};
    static const char *const others[] = {
        "",    " ", ".",    "'tis",         "co-", "a b",          "<bos>",
        "a.b", "-", "\xFF", "\xEF\xBF\xBD", "a_b", "\xE2\x96\x81", "<id:17>"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!letters_word(words[i], strlen(words[i]))) {
            printf("    \"%s\" is a word\n", words[i]);
            test_failures_++;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (letters_word(others[i], strlen(others[i]))) {
            printf("    \"%s\" is none\n", others[i]);
            test_failures_++;
        }
    }
}

static const struct test tests[] = {TEST(knows_letters_and_numbers_of_every_script),
                                    TEST(tells_words_from_other_tokens)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
