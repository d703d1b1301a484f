#include "core/base/memory.h"

#include "test.h"

#include <stdint.h>

static void checks_products_and_sums_for_overflow(void)
{
    size_t out = 7;
    CHECK(memory_multiply(6, 7, &out) && out == 42);
    CHECK(memory_multiply(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    out = 7;
    CHECK(!memory_multiply(SIZE_MAX / 2 + 1, 2, &out) && !memory_add(SIZE_MAX, 1, &out));
    CHECK(memory_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
}

static void refuses_sizes_that_overflow(void)
{
    char *old = memory_alloc(4, 1);
    REQUIRE(old != NULL);
    memcpy(old, "abc", 4);
    CHECK(memory_alloc(SIZE_MAX / 2, 3) == NULL);
    CHECK(memory_zalloc(SIZE_MAX / 2, 3) == NULL);
    CHECK(memory_aligned(SIZE_MAX / 2, 3) == NULL);
    CHECK(memory_aligned(SIZE_MAX - 8, 1) == NULL);
    CHECK(memory_resize(old, SIZE_MAX / 2, 3) == NULL);
    CHECK_STRING(old, "abc"); /* still the caller's */
    CHECK(memory_string_n("", SIZE_MAX) == NULL);
    memory_free(old);
}

static void zeroes_and_aligns(void)
{
    for (size_t n = 0; n < 200; n += 33) {
        unsigned char *block = memory_aligned(n, 1);
        unsigned char *zeroed = memory_zalloc(n, 1);
        REQUIRE(block && zeroed);
        CHECK((uintptr_t)block % 64 == 0);
        for (size_t i = 0; i < n; i++) {
            CHECK(block[i] == 0 && zeroed[i] == 0);
        }
        memory_free(block);
        memory_free(zeroed);
    }
}

static void a_count_of_zero_gives_a_pointer(void)
{
    void *block = memory_alloc(0, 8);
    CHECK(block != NULL);
    block = memory_resize(block, 0, 8);
    CHECK(block != NULL);
    memory_free(block);
    memory_free(NULL);
}

static void copies_strings(void)
{
    char *all = memory_string("hello");
    char *part = memory_string_n("hello", 3);
    CHECK_STRING(all, "hello");
    CHECK_STRING(part, "hel");
    memory_free(all);
    memory_free(part);
}

static void fails_the_nth_allocation_and_counts(void)
{
    (void)memory_fail_after(2);
    void *first = memory_alloc(1, 1);
    void *second = memory_alloc(1, 1);
    void *third = memory_string("x");
    CHECK(first != NULL && second == NULL && third != NULL);
    CHECK(memory_fail_after(0) == 3);
    CHECK(memory_fail_after(0) == 0);
    memory_free(first);
    memory_free(third);
}

static void pages_are_zeroed_and_can_fail(void)
{
    const size_t n = (size_t)1 << 20;
    unsigned char *pages = memory_pages(n);
    REQUIRE(pages != NULL);
    CHECK(pages[0] == 0 && pages[n - 1] == 0);
    memory_free_pages(pages, n);
    memory_free_pages(NULL, n);
    CHECK(memory_pages(0) == NULL);
    (void)memory_fail_after(1);
    CHECK(memory_pages(n) == NULL);
    (void)memory_fail_after(0);
}

static const struct test tests[] = {
    TEST(pages_are_zeroed_and_can_fail),       TEST(checks_products_and_sums_for_overflow),
    TEST(refuses_sizes_that_overflow),         TEST(zeroes_and_aligns),
    TEST(a_count_of_zero_gives_a_pointer),     TEST(copies_strings),
    TEST(fails_the_nth_allocation_and_counts),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
