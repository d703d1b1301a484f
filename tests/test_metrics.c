#include "server/metrics.h"
#include "tests/test.h"

static void starts_at_zero(void)
{
    struct metrics m;
    struct metrics_count counts[4];
    metrics_init(&m);
    CHECK(atomic_load(&m.cache_hits) == 0 && atomic_load(&m.cache_misses) == 0);
    CHECK(metrics_requests(&m, counts, 4) == 0);
    metrics_destroy(&m);
}

static void counts_hits_misses_and_replies_by_route_and_status(void)
{
    struct metrics m;
    struct metrics_count counts[4];
    metrics_init(&m);
    metrics_cache(&m, 3, 2);
    metrics_cache(&m, 0, 1);
    CHECK(atomic_load(&m.cache_hits) == 3 && atomic_load(&m.cache_misses) == 3);
    metrics_request(&m, "/health", 200, 0.02);
    metrics_request(&m, "/health", 200, 0.02);
    metrics_request(&m, "/health", 500, 0.02);
    metrics_request(&m, NULL, 404, 0.02);
    CHECK(metrics_requests(&m, counts, 4) == 3);
    CHECK_STRING(counts[0].route, "/health");
    CHECK(counts[0].status == 200 && counts[0].requests == 2);
    CHECK(counts[1].status == 500 && counts[1].requests == 1);
    CHECK_STRING(counts[2].route, "unmatched");
    CHECK(metrics_requests(&m, counts, 1) == 1);
    metrics_destroy(&m);
}

static void keeps_counting_when_the_table_is_full(void)
{
    static struct metrics m;
    static struct metrics_count counts[METRICS_COUNTS + 1];
    metrics_init(&m);
    for (int i = 0; i < METRICS_COUNTS + 10; i++) {
        metrics_request(&m, "/v1/tokenize", i, 0.02);
    }
    CHECK(metrics_requests(&m, counts, METRICS_COUNTS + 1) == METRICS_COUNTS);
    CHECK(counts[METRICS_COUNTS - 1].requests == 11);
    static char names[METRICS_ROUTES + 10][16];
    static struct metrics_latency latencies[METRICS_ROUTES + 1];
    for (int i = 0; i < METRICS_ROUTES + 10; i++) {
        snprintf(names[i], sizeof names[i], "/%d", i);
        metrics_request(&m, names[i], 200, 1e9); /* longer than any bound */
    }
    CHECK(metrics_latencies(&m, latencies, METRICS_ROUTES + 1) == METRICS_ROUTES);
    CHECK(latencies[METRICS_ROUTES - 1].count == 12 && latencies[0].count == METRICS_COUNTS + 10);
    CHECK(latencies[1].within[METRICS_BUCKETS - 1] == 0 && latencies[1].seconds == 1e9);
    metrics_destroy(&m);
}

static const struct test tests[] = {TEST(starts_at_zero),
                                    TEST(counts_hits_misses_and_replies_by_route_and_status),
                                    TEST(keeps_counting_when_the_table_is_full)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
