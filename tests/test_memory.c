#include "core/base/memory.h"

#include "test.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static size_t resident_bytes(void)
{
    unsigned long pages[2] = {0};
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f && fscanf(f, "%lu %lu", &pages[0], &pages[1]) == 2); /* NOLINT(cert-err34-c) */
    if (f) {
        (void)fclose(f);
    }
    return pages[1] * (size_t)sysconf(_SC_PAGESIZE);
}

/* Blocks that stay in use between freed ones keep the C library from giving anything back itself.
 */
static void gives_freed_memory_between_used_blocks_back(void)
{
    enum { BLOCKS = 8000, BYTES = 10000 };
    static void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = memory_alloc(BYTES, 1);
        REQUIRE(blocks[i]);
        memset(blocks[i], 1, BYTES);
    }
    for (int i = 0; i < BLOCKS; i++) {
        if (i % 20) {
            memory_free(blocks[i]);
        }
    }
    size_t before = resident_bytes();
    memory_give_back();
    size_t after = resident_bytes();
    CHECK(after + ((size_t)60 << 20) < before);
    for (int i = 0; i < BLOCKS; i += 20) {
        memory_free(blocks[i]);
    }
}
#else
static void gives_freed_memory_between_used_blocks_back(void)
{
    memory_give_back();
}
#endif

static const struct test tests[] = {
    TEST(gives_freed_memory_between_used_blocks_back),
    TEST(pages_are_zeroed_and_can_fail),
    TEST(checks_products_and_sums_for_overflow),
    TEST(refuses_sizes_that_overflow),
    TEST(zeroes_and_aligns),
    TEST(a_count_of_zero_gives_a_pointer),
    TEST(copies_strings),
    TEST(fails_the_nth_allocation_and_counts),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
