/* The test harness: a table of sentences and functions.
 *
 *     static void adds_up(void) { CHECK(1 + 1 == 2); }
 *     static const struct test tests[] = {TEST(adds_up)};
 *     int main(int argc, char **argv) { return test_main(tests, TEST_COUNT(tests), argc, argv); }
 *
 * A failed check prints file, line and values and fails the test; it does not leave the function.
 * Arguments: --list, or words that a test's name must contain. The last line is
 * "N passed, N failed" (", N skipped" when some were). */
#ifndef DM_TESTS_TEST_H
#define DM_TESTS_TEST_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
};

#define TEST(function)      \
    {                       \
#function, function \
    }
#define TEST_COUNT(table) (sizeof(table) / sizeof(table)[0])

static int test_failures_;
static const char *test_skipped_;

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            printf("    %s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
            test_failures_++;                                                   \
        }                                                                       \
    } while (0)

/* As CHECK, and returns from the test: for conditions that what follows stands on. */
#define REQUIRE(condition)                                                      \
    do {                                                                        \
        if (!(condition)) {                                                     \
            printf("    %s:%d: required %s\n", __FILE__, __LINE__, #condition); \
            test_failures_++;                                                   \
            return;                                                             \
        }                                                                       \
    } while (0)

/* A call that must succeed; prints the status message if it does not and returns. */
#define REQUIRE_OK(call, st)                                                        \
    do {                                                                            \
        if ((call) != 0) {                                                          \
            printf("    %s:%d: %s: %s\n", __FILE__, __LINE__, #call, (st).message); \
            test_failures_++;                                                       \
            return;                                                                 \
        }                                                                           \
    } while (0)

#define CHECK_STRING(found, expected) \
    test_check_string_((found), (expected), __FILE__, __LINE__, #found)

#define CHECK_CONTAINS(found, part)                                                                \
    do {                                                                                           \
        const char *found_ = (found);                                                              \
        if (!found_ || !strstr(found_, (part))) {                                                  \
            printf("    %s:%d: expected %s to contain \"%s\", found \"%s\"\n", __FILE__, __LINE__, \
                   #found, (part), found_ ? found_ : "(null)");                                    \
            test_failures_++;                                                                      \
        }                                                                                          \
    } while (0)

#define CHECK_NEAR(found, expected, tolerance)                                               \
    do {                                                                                     \
        double found_ = (double)(found), expected_ = (double)(expected);                     \
        if (!(fabs(found_ - expected_) <= (double)(tolerance))) {                            \
            printf("    %s:%d: %s: expected %.9g +- %.3g, found %.9g\n", __FILE__, __LINE__, \
                   #found, expected_, (double)(tolerance), found_);                          \
            test_failures_++;                                                                \
        }                                                                                    \
    } while (0)

/* Leaves the test, counted as skipped and named with its reason. */
#define SKIP(reason)              \
    do {                          \
        test_skipped_ = (reason); \
        return;                   \
    } while (0)

static inline void test_check_string_(const char *found, const char *expected, const char *file,
                                      int line, const char *what)
{
    if (!found || strcmp(found, expected) != 0) {
        printf("    %s:%d: %s: expected \"%s\", found \"%s\"\n", file, line, what, expected,
               found ? found : "(null)");
        test_failures_++;
    }
}

static inline int test_main(const struct test *tests, size_t n, int argc, char **argv)
{
    int passed = 0, failed = 0, skipped = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < n; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++) {
            wanted = wanted || strstr(tests[i].name, argv[a]) != NULL;
        }
        if (argc > 1 && strcmp(argv[1], "--list") == 0) {
            printf("%s\n", tests[i].name);
            continue;
        }
        if (!wanted) {
            continue;
        }
        test_failures_ = 0;
        test_skipped_ = NULL;
        tests[i].run();
        const char *word = test_failures_ ? "FAILED" : test_skipped_ ? "skipped" : "ok";
        printf("  %-7s %s%s%s\n", word, tests[i].name, test_skipped_ ? ": " : "",
               test_skipped_ ? test_skipped_ : "");
        failed += test_failures_ != 0;
        skipped += test_failures_ == 0 && test_skipped_ != NULL;
        passed += test_failures_ == 0 && test_skipped_ == NULL;
    }
    if (skipped) {
        printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    } else {
        printf("%d passed, %d failed\n", passed, failed);
    }
    return failed != 0;
}

/* Floats are compared to the last bit. */
static inline bool test_same_bytes(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

#endif
