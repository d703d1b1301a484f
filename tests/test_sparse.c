#include "core/base/sparse.h"

#include "core/base/memory.h"
#include "test.h"

static void gives_back_what_was_appended(void)
{
    struct sparse s = {0};
    for (uint32_t r = 0; r < 200; r++) { /* row r holds the columns 0, 3, 6, ... below r */
        uint32_t columns[70];
        float values[70];
        size_t n = 0;
        for (uint32_t c = 0; c < r; c += 3) {
            columns[n] = c;
            values[n++] = (float)(r * 1000 + c);
        }
        sparse_append(&s, columns, values, n);
    }
    CHECK(!s.failed && s.rows == 200);
    int wrong = 0;
    for (uint32_t r = 0; r < 200; r++) {
        for (uint32_t c = 0; c < 210; c++) {
            float want = c < r && c % 3 == 0 ? (float)(r * 1000 + c) : 0.0f;
            wrong += sparse_get(&s, r, c) != want;
        }
    }
    CHECK(wrong == 0);
    sparse_free(&s);
}

static void empty_rows_count_too(void)
{
    struct sparse s = {0};
    sparse_append(&s, NULL, NULL, 0);
    sparse_append(&s, NULL, NULL, 0);
    CHECK(s.rows == 2 && s.start[2] == 0 && sparse_get(&s, 1, 0) == 0.0f);
    sparse_clear(&s);
    CHECK(s.rows == 0);
    const uint32_t column = UINT32_MAX;
    const float value = 2.5f;
    sparse_append(&s, &column, &value, 1);
    CHECK(s.rows == 1 && s.start[0] == 0 && sparse_get(&s, 0, UINT32_MAX) == 2.5f);
    sparse_free(&s);
    sparse_free(&s);
}

static void keeps_its_rows_when_an_allocation_fails(void)
{
    const uint32_t columns[40] = {0, 1, 2, 3};
    const float values[40] = {1, 2, 3, 4};
    for (long nth = 1; nth <= 3; nth++) {
        struct sparse s = {0};
        sparse_append(&s, columns, values, 4);
        for (int i = 0; i < 3; i++) {
            sparse_append(&s, columns, values, 4); /* 16 entries: the next row must grow */
        }
        (void)memory_fail_after(nth);
        sparse_append(&s, columns, values, 4);
        (void)memory_fail_after(0);
        CHECK(s.failed == (nth < 3)); /* two blocks grow, index and value */
        CHECK(s.rows == (nth < 3 ? 4 : 5));
        CHECK(sparse_get(&s, 3, 2) == 3.0f);
        sparse_append(&s, columns, values, 4);
        CHECK(s.rows == (nth < 3 ? 4 : 6));
        sparse_free(&s);
    }
}

static const struct test tests[] = {
    TEST(gives_back_what_was_appended),
    TEST(empty_rows_count_too),
    TEST(keeps_its_rows_when_an_allocation_fails),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
