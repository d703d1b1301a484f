#include "tests/v1.h"

static void gives_each_source_a_row_of_its_own_and_remembers_it(void)
{
    struct v1 v;
    struct status st;
    int64_t first, again, other;
    REQUIRE(v1_open(&v, V1_DEMO));
    REQUIRE_OK(sources_row(v.app.sources, "2-gemmascope-res-2k", &first, &st), st);
    REQUIRE_OK(sources_row(v.app.sources, "3-gemmascope-res-2k", &other, &st), st);
    REQUIRE_OK(sources_row(v.app.sources, "2-gemmascope-res-2k", &again, &st), st);
    CHECK(first > 0 && first == again && first != other);
    CHECK(sources_model(v.app.sources) > 0);
    v1_close(&v);
}

static void finds_the_same_rows_when_opened_again(void)
{
    struct v1 v;
    struct status st;
    struct sources *second;
    int64_t first, again;
    REQUIRE(v1_open(&v, V1_DEMO));
    REQUIRE_OK(sources_row(v.app.sources, "2-gemmascope-mlp-2k", &first, &st), st);
    REQUIRE_OK(sources_create(&second, v.app.engine, v.app.store, &st), st);
    REQUIRE_OK(sources_row(second, "2-gemmascope-mlp-2k", &again, &st), st);
    CHECK(first == again && sources_model(second) == sources_model(v.app.sources));
    sources_destroy(second);
    v1_close(&v);
}

static void names_a_source_that_is_not_there(void)
{
    struct v1 v;
    struct status st;
    int64_t row;
    REQUIRE(v1_open(&v, V1_DEMO));
    CHECK(sources_row(v.app.sources, "99-none", &row, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "99-none");
    v1_close(&v);
}

static void survives_allocations_that_fail(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    bool failed = true;
    for (long nth = 1; failed && nth < 100; nth++) {
        struct sources *sources;
        struct status st;
        memory_fail_after(nth);
        int code = sources_create(&sources, v.app.engine, v.app.store, &st);
        memory_fail_after(0);
        failed = code != 0;
        CHECK(!failed || sources == NULL);
        sources_destroy(failed ? NULL : sources);
    }
    CHECK(!failed);
    v1_close(&v);
}

static const struct test tests[] = {TEST(gives_each_source_a_row_of_its_own_and_remembers_it),
                                    TEST(finds_the_same_rows_when_opened_again),
                                    TEST(names_a_source_that_is_not_there),
                                    TEST(survives_allocations_that_fail)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
