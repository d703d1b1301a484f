#include "core/base/hash.h"

#include "test.h"

static void check_hex(const char *bytes, const char *expected)
{
    char hex[HASH_HEX];
    struct hash h = hash_start();
    hash_add(&h, bytes, strlen(bytes));
    hash_hex(h, hex);
    CHECK_STRING(hex, expected);
}

/* The authors' test vectors (RFC 9923, FNV-1a of 128 bits). */
static void gives_the_published_values(void)
{
    check_hex("", "6c62272e07bb014262b821756295c58d");
    check_hex("a", "d228cb696f1a8caf78912b704e4a8964");
    check_hex("foobar", "343e1662793c64bf6f0d3597ba446f18");
}

static void does_not_depend_on_how_the_bytes_are_cut(void)
{
    struct hash whole = hash_start();
    struct hash parts = hash_start();
    hash_add(&whole, "foobar", 6);
    hash_add(&parts, "foo", 3);
    hash_add(&parts, "", 0);
    hash_add(&parts, "bar", 3);
    CHECK(whole.high == parts.high && whole.low == parts.low);
}

static void writes_its_bytes_big_endian(void)
{
    uint8_t bytes[HASH_BYTES];
    hash_bytes(hash_start(), bytes);
    CHECK(bytes[0] == 0x6c && bytes[7] == 0x42 && bytes[8] == 0x62 && bytes[15] == 0x8d);
}

static const struct test tests[] = {
    TEST(gives_the_published_values),
    TEST(does_not_depend_on_how_the_bytes_are_cut),
    TEST(writes_its_bytes_big_endian),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
