#include "core/base/bytes.h"
#include "tests/test.h"

#include <stdint.h>

static void what_was_put_is_got_in_the_same_order(void)
{
    struct text out = {0};
    const uint32_t whole = 7;
    const float real[] = {1.5f, -2.0f};
    bytes_put(&out, &whole, sizeof whole);
    bytes_put(&out, real, sizeof real);
    CHECK(out.length == 12);
    struct bytes b = {out.data, out.length};
    uint32_t n = 0;
    float x[2] = {0};
    CHECK(bytes_get(&b, &n, sizeof n) && n == 7);
    CHECK(bytes_get(&b, x, sizeof x) && x[0] == 1.5f && x[1] == -2.0f);
    CHECK(b.left == 0 && bytes_get(&b, x, 0) && !bytes_get(&b, x, 1));
    text_free(&out);
}

static void takes_nothing_of_too_little(void)
{
    char to[4] = "abc";
    struct bytes b = {"xy", 2};
    CHECK(!bytes_get(&b, to, 3) && b.left == 2 && to[0] == 'a');
    CHECK(!bytes_get(&b, to, SIZE_MAX) && b.left == 2);
    CHECK(bytes_get(&b, to, 2) && to[0] == 'x' && to[1] == 'y');
}

static const struct test tests[] = {
    TEST(what_was_put_is_got_in_the_same_order),
    TEST(takes_nothing_of_too_little),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
