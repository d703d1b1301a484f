#include "core/base/text.h"

#include "core/base/memory.h"
#include "test.h"

static void grows_and_stays_terminated(void)
{
    struct text t = {0};
    for (int i = 0; i < 1000; i++) {
        text_printf(&t, "%d", i % 10);
        text_char(&t, ',');
    }
    CHECK(!t.failed && t.length == 2000 && strlen(t.data) == 2000);
    CHECK(strncmp(t.data, "0,1,2,", 6) == 0);
    text_clear(&t);
    CHECK(t.length == 0 && t.data[0] == '\0');
    text_append(&t, "a\0b", 3);
    CHECK(t.length == 3 && memcmp(t.data, "a\0b", 4) == 0);
    text_append(&t, NULL, 0);
    CHECK(t.length == 3);
    text_free(&t);
}

static void hands_its_bytes_over(void)
{
    struct text t = {0};
    size_t n = 9;
    char *empty = text_take(&t, &n);
    CHECK_STRING(empty, "");
    CHECK(n == 0);
    text_string(&t, "abc");
    char *taken = text_take(&t, &n);
    CHECK_STRING(taken, "abc");
    CHECK(n == 3 && t.data == NULL && t.length == 0);
    memory_free(empty);
    memory_free(taken);
}

static void remembers_a_failed_allocation(void)
{
    struct text t = {0};
    (void)memory_fail_after(1);
    text_string(&t, "abc");
    (void)memory_fail_after(0);
    CHECK(t.failed);
    text_string(&t, "def");
    CHECK(t.failed && t.length == 0);
    CHECK(text_take(&t, NULL) == NULL);
    CHECK(!t.failed); /* empty again */
    CHECK(!text_reserve(&t, (size_t)-1) && t.failed);
    text_free(&t);
}

static void measures_utf8_characters(void)
{
    static const struct {
        const char *bytes;
        size_t n, length;
    } cases[] = {
        {"a", 1, 1},
        {"", 0, 0},
        {"\0", 1, 1},
        {"\x7f", 1, 1},
        {"\x80", 1, 0},
        {"\xc2\x80", 2, 2},
        {"\xc1\xbf", 2, 0},         /* overlong */
        {"\xc3", 1, 0},             /* cut */
        {"\xe0\xa0\x80", 3, 3},     /* U+0800 */
        {"\xe0\x9f\xbf", 3, 0},     /* overlong */
        {"\xed\x9f\xbf", 3, 3},     /* U+D7FF */
        {"\xed\xa0\x80", 3, 0},     /* a surrogate */
        {"\xef\xbf\xbf", 3, 3},     /* U+FFFF */
        {"\xf0\x90\x80\x80", 4, 4}, /* U+10000 */
        {"\xf0\x8f\xbf\xbf", 4, 0}, /* overlong */
        {"\xf4\x8f\xbf\xbf", 4, 4}, /* U+10FFFF */
        {"\xf4\x90\x80\x80", 4, 0}, /* beyond */
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xff", 1, 0},
        {"\xe2\x82\x28", 3, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t found = text_utf8_length(cases[i].bytes, cases[i].n);
        if (found != cases[i].length) {
            printf("    case %zu\n", i);
        }
        CHECK(found == cases[i].length);
    }
}

static void replaces_each_invalid_byte(void)
{
    const char bytes[] = "a\xff\xe2\x82z\xc3\xa9";
    struct text t = {0};
    CHECK(text_utf8_valid(bytes, sizeof bytes - 1) == 1);
    CHECK(text_utf8_valid("\xc3\xa9z", 3) == 3);
    text_append_utf8(&t, bytes, sizeof bytes - 1);
    CHECK_STRING(t.data, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\xc3\xa9");
    text_free(&t);
}

static void compares_both_ends(void)
{
    CHECK(text_starts_with("model.safetensors", "model."));
    CHECK(text_starts_with("x", ""));
    CHECK(!text_starts_with("mod", "model"));
    CHECK(text_ends_with("a.npy", ".npy"));
    CHECK(text_ends_with(".npy", ".npy"));
    CHECK(!text_ends_with("npy", ".npy"));
}

static const struct test tests[] = {
    TEST(grows_and_stays_terminated),    TEST(hands_its_bytes_over),
    TEST(remembers_a_failed_allocation), TEST(measures_utf8_characters),
    TEST(replaces_each_invalid_byte),    TEST(compares_both_ends),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
