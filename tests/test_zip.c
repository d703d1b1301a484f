#include "core/formats/zip.h"

#include "npz_builder.h"
#include "test.h"

static const float six[] = {1, 2, 3, 4, 5, 6};
static const struct npz_member stored = {"w.npy", "<f4", "(6,)", six, .bytes = sizeof six};
static const struct npz_member deflated = {"w.npy",        "<f4", "(6,)", six, .bytes = sizeof six,
                                           .deflate = true};

static uint8_t *at(struct text *zip, size_t i)
{
    return (uint8_t *)zip->data + i;
}

/* Where the central directory's first entry begins. */
static size_t central_of(const struct text *zip)
{
    size_t i = zip->length - 4;
    while (memcmp(zip->data + i, "PK\x01\x02", 4) != 0) {
        i--;
    }
    return i;
}

static int code_of(const struct text *zip, struct status *st)
{
    struct zip z;
    int code = zip_read(&z, zip->data, zip->length, "x.zip", st);
    zip_free(&z);
    return code;
}

/* The code once byte i, from the central entry on, holds that value. */
static int with_byte(const struct npz_member *m, size_t i, uint8_t value, struct status *st)
{
    struct text zip = npz_build(m, 1, false, NULL);
    *at(&zip, central_of(&zip) + i) = value;
    int code = code_of(&zip, st);
    text_free(&zip);
    return code;
}

static void extracts_all_or_the_beginning_of_a_member(void)
{
    static const struct npz_member *const members[] = {&stored, &deflated};
    for (size_t i = 0; i < 2; i++) {
        struct status st = {0};
        struct text zip = npz_build(members[i], 1, false, NULL);
        struct zip z;
        uint8_t out[256] = {0};
        REQUIRE_OK(zip_read(&z, zip.data, zip.length, "x.zip", &st), st);
        REQUIRE(z.n == 1 && z.members[0].size == 128 + sizeof six);
        CHECK_STRING(z.members[0].name, "w.npy");
        REQUIRE_OK(zip_extract(&z.members[0], out, 6, "x.zip", &st), st);
        CHECK(memcmp(out, "\x93NUMPY\0", 7) == 0);
        REQUIRE_OK(zip_extract(&z.members[0], out, z.members[0].size, "x.zip", &st), st);
        CHECK(memcmp(out + 128, six, sizeof six) == 0);
        zip_free(&z);
        text_free(&zip);
    }
}

static void refuses_a_stream_longer_or_shorter_than_it_says(void)
{
    for (int change = -1; change <= 1; change += 2) {
        struct status st = {0};
        struct text zip = npz_build(&deflated, 1, false, NULL);
        struct zip z;
        uint8_t out[256];
        uint8_t *size = at(&zip, central_of(&zip) + 24);
        *size = (uint8_t)(*size + change);
        REQUIRE_OK(zip_read(&z, zip.data, zip.length, "x.zip", &st), st);
        CHECK(zip_extract(&z.members[0], out, z.members[0].size, "x.zip", &st) == STATUS_CORRUPT);
        CHECK_CONTAINS(st.message, "x.zip: member \"w.npy\": expected a deflate stream of");
        zip_free(&z);
        text_free(&zip);
    }
}

static void refuses_sizes_that_the_data_cannot_hold(void)
{
    struct status st = {0};
    CHECK(with_byte(&stored, 24, 1, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "found 152 stored bytes, which cannot hold them");
    CHECK(with_byte(&deflated, 27, 0x7f, &st) == STATUS_CORRUPT); /* 2 GB out of some bytes */
    CHECK_CONTAINS(st.message, "deflated bytes, which cannot hold them");
    CHECK(with_byte(&deflated, 23, 0x7f, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "before the central directory");
    CHECK(with_byte(&stored, 45, 0x7f, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "expected a local header at byte");
}

static void refuses_what_it_cannot_unpack(void)
{
    struct status st = {0};
    CHECK(with_byte(&stored, 10, 12, &st) == STATUS_UNSUPPORTED);
    CHECK_CONTAINS(st.message,
                   "expected it stored or deflated, found another compression (method 12)");
    CHECK(with_byte(&stored, 8, 1, &st) == STATUS_UNSUPPORTED);
    CHECK_CONTAINS(st.message, "encrypted");
    CHECK(with_byte(&stored, 46, 0, &st) == STATUS_CORRUPT); /* the name's first byte */
    CHECK_CONTAINS(st.message, "hold a NUL");
}

static void refuses_a_name_that_comes_twice(void)
{
    const struct npz_member members[] = {stored, stored};
    struct status st = {0};
    struct text zip = npz_build(members, 2, false, NULL);
    CHECK(code_of(&zip, &st) == STATUS_CORRUPT);
    CHECK_STRING(st.message, "x.zip: member \"w.npy\": expected it once, found it twice");
    text_free(&zip);
}

static void refuses_a_directory_that_does_not_fit(void)
{
    struct status st = {0};
    struct text zip = npz_build(&stored, 1, false, NULL);
    uint8_t *end = at(&zip, zip.length - 22);
    end[10] = 2; /* entries */
    CHECK(code_of(&zip, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "central directory of 2 entries");
    end[10] = 1;
    end[19] = 0x7f; /* its offset */
    CHECK(code_of(&zip, &st) == STATUS_CORRUPT);
    text_free(&zip);
    zip = npz_build(&stored, 1, true, NULL);
    *at(&zip, zip.length - 22 - 20 + 15) = 0xff; /* where the locator says the ZIP64 record is */
    CHECK(code_of(&zip, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "expected a ZIP64 end record");
    text_free(&zip);
}

static const struct test tests[] = {
    TEST(extracts_all_or_the_beginning_of_a_member),
    TEST(refuses_a_stream_longer_or_shorter_than_it_says),
    TEST(refuses_sizes_that_the_data_cannot_hold),
    TEST(refuses_what_it_cannot_unpack),
    TEST(refuses_a_name_that_comes_twice),
    TEST(refuses_a_directory_that_does_not_fit),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
