#include "server/store/blob.h"

#include "core/base/memory.h"
#include "tests/test.h"

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Encodes, decodes and compares every bit; the number of bytes. */
static size_t round_trip(const uint32_t *index, const float *value, size_t n)
{
    struct text blob = {0};
    struct sparse rows = {0};
    blob_encode(&blob, index, value, n);
    size_t size = blob.length;
    CHECK(!blob.failed);
    CHECK(blob_decode(blob.data, blob.length, &rows));
    CHECK(rows.rows == 1);
    if (rows.rows == 1) {
        CHECK(rows.start[0] == 0 && rows.start[1] == n);
        CHECK(n == 0 || memcmp(rows.index, index, n * sizeof *index) == 0);
        CHECK(n == 0 || memcmp(rows.value, value, n * sizeof *value) == 0);
    }
    text_free(&blob);
    sparse_free(&rows);
    return size;
}

static void keeps_every_bit_of_special_floats(void)
{
    const uint32_t bits[] = {0x00000000, 0x80000000, 0x00000001, 0x807FFFFF,
                             0x00800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000,
                             0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0x3F800000};
    enum { N = sizeof bits / sizeof *bits };
    uint32_t index[N];
    float value[N];
    for (uint32_t i = 0; i < N; i++) {
        index[i] = 3 * i;
        value[i] = from_bits(bits[i]);
    }
    CHECK(round_trip(index, value, N) == 1 + N + 4 * N);
}

static void keeps_indices_at_every_length_of_a_varint(void)
{
    const uint32_t index[] = {0,         127,        255,        16383 + 255, 16384 + 16638,
                              2130000,   0x0FFFFFFF, 0x10000000, 0x7FFFFFFF,  0xFFFFFFFE,
                              0xFFFFFFFF};
    enum { N = sizeof index / sizeof *index };
    float value[N] = {1.0f, 2.0f};
    (void)round_trip(index, value, N);
    for (size_t i = 0; i < N; i++) {
        (void)round_trip(&index[i], &value[i], 1);
    }
}

static void keeps_an_empty_row_in_one_byte(void)
{
    CHECK(round_trip(NULL, NULL, 0) == 1);
}

static void lays_bytes_out_as_documented(void)
{
    const uint32_t index[] = {5, 305, 306};
    const float value[] = {1.0f, -2.0f, 0.5f};
    const uint8_t expected[] = {3, 5, 0xAC, 0x02, 1, 0, 0, 0x80, 0x3F,
                                0, 0, 0,    0xC0, 0, 0, 0, 0x3F};
    struct text blob = {0};
    blob_encode(&blob, index, value, 3);
    CHECK(blob.length == sizeof expected);
    CHECK(blob.length == sizeof expected && memcmp(blob.data, expected, sizeof expected) == 0);
    text_free(&blob);
}

static void appends_to_what_is_there(void)
{
    const uint32_t index[] = {7, 9};
    const float value[] = {1.5f, 2.5f};
    struct text blob = {0};
    struct sparse rows = {0};
    text_string(&blob, "before");
    blob_encode(&blob, index, value, 2);
    sparse_append(&rows, index, value, 1);
    REQUIRE(blob.length > 6);
    CHECK(memcmp(blob.data, "before", 6) == 0);
    CHECK(blob_decode(blob.data + 6, blob.length - 6, &rows));
    CHECK(rows.rows == 2 && rows.start[1] == 1 && rows.start[2] == 3);
    CHECK_NEAR(sparse_get(&rows, 1, 9), 2.5, 0);
    text_free(&blob);
    sparse_free(&rows);
}

static void check_refused(const uint8_t *bytes, size_t n, const char *why)
{
    const uint32_t index = 4;
    const float value = 2.0f;
    struct sparse rows = {0};
    sparse_append(&rows, &index, &value, 1);
    if (blob_decode(bytes, n, &rows)) {
        printf("    %s was taken\n", why);
        test_failures_++;
    }
    CHECK(rows.rows == 1 && rows.start[1] == 1 && !rows.failed);
    sparse_free(&rows);
}

static void refuses_what_is_not_a_blob(void)
{
#define REFUSED(why, ...)                          \
    do {                                           \
        const uint8_t bytes_[] = {__VA_ARGS__};    \
        check_refused(bytes_, sizeof bytes_, why); \
    } while (0)
    check_refused(NULL, 0, "nothing at all");
    REFUSED("a byte too many", 0, 0);
    REFUSED("a count without an end", 0x80);
    REFUSED("a padded count", 0x80, 0x00);
    REFUSED("a count of 6 bytes", 0x81, 0x80, 0x80, 0x80, 0x80, 0x01);
    REFUSED("a count over 32 bits", 0xFF, 0xFF, 0xFF, 0xFF, 0x1F);
    REFUSED("a count far beyond the bytes", 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1, 0, 0, 0, 0);
    REFUSED("a count of 2 for one entry", 2, 1, 0, 0, 0x80, 0x3F);
    REFUSED("an index that stays", 2, 1, 0, 0, 0, 0x80, 0x3F, 0, 0, 0x80, 0x3F);
    REFUSED("an index without an end", 1, 0x80, 0, 0, 0x80);
    REFUSED("indices over 32 bits", 2, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1, 0, 0, 0, 0, 0, 0, 0, 0);
#undef REFUSED
}

/* What was decoded must be a row that an encoder could have been given. */
static void check_well_formed(const uint8_t *bytes, size_t n)
{
    struct sparse rows = {0};
    if (!blob_decode(bytes, n, &rows)) {
        CHECK(rows.rows == 0);
    } else {
        struct text again = {0};
        CHECK(rows.rows == 1);
        for (size_t i = 1; i < rows.start[1]; i++) {
            CHECK(rows.index[i] > rows.index[i - 1]);
        }
        blob_encode(&again, rows.index, rows.value, rows.start[1]);
        CHECK(again.length == n && memcmp(again.data, bytes, n) == 0);
        text_free(&again);
    }
    sparse_free(&rows);
}

static void survives_every_flipped_byte_and_every_cut(void)
{
    enum { N = 40 };
    uint32_t index[N];
    float value[N];
    for (uint32_t i = 0; i < N; i++) {
        index[i] = i * i * 10;
        value[i] = (float)i / 7;
    }
    struct text blob = {0};
    blob_encode(&blob, index, value, N);
    REQUIRE(!blob.failed);
    uint8_t *bytes = (uint8_t *)blob.data;
    for (size_t i = 0; i < blob.length; i++) {
        for (unsigned mask = 1; mask < 256; mask++) {
            bytes[i] ^= (uint8_t)mask;
            check_well_formed(bytes, blob.length);
            bytes[i] ^= (uint8_t)mask;
        }
    }
    for (size_t n = 0; n < blob.length; n++) {
        /* A copy of its own length, so that a read beyond it is seen by AddressSanitizer. */
        uint8_t *cut = memory_alloc(n, 1);
        REQUIRE(cut);
        memcpy(cut, bytes, n);
        check_refused(cut, n, "a blob cut short");
        memory_free(cut);
    }
    text_free(&blob);
}

static void says_when_memory_runs_out(void)
{
    const uint32_t index[] = {1, 2};
    const float value[] = {1.0f, 2.0f};
    struct text blob = {0};
    blob_encode(&blob, index, value, 2);
    REQUIRE(!blob.failed);
    long failures = 0;
    for (long nth = 1;; nth++) {
        struct sparse rows = {0};
        (void)memory_fail_after(nth);
        bool good = blob_decode(blob.data, blob.length, &rows);
        (void)memory_fail_after(0);
        CHECK(good != rows.failed);
        CHECK(rows.rows == (good ? 1 : 0));
        sparse_free(&rows);
        if (good) {
            break;
        }
        failures++;
    }
    CHECK(failures >= 2);
    struct text full = {0};
    (void)memory_fail_after(1);
    blob_encode(&full, index, value, 2);
    (void)memory_fail_after(0);
    CHECK(full.failed && full.length == 0);
    text_free(&full);
    text_free(&blob);
}

static const struct test tests[] = {
    TEST(keeps_every_bit_of_special_floats),
    TEST(keeps_indices_at_every_length_of_a_varint),
    TEST(keeps_an_empty_row_in_one_byte),
    TEST(lays_bytes_out_as_documented),
    TEST(appends_to_what_is_there),
    TEST(refuses_what_is_not_a_blob),
    TEST(survives_every_flipped_byte_and_every_cut),
    TEST(says_when_memory_runs_out),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
