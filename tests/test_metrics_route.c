/* GET /metrics in Prometheus's text format. */
#include "tests/v1.h"

static char *scrape(struct v1 *v)
{
    struct exchange *x = exchange_run(&v->router, "GET", "/metrics", NULL, NULL, 0);
    char *text = NULL;
    if (x) {
        CHECK(x->response.status == 200);
        CHECK_CONTAINS(x->response.content_type, "text/plain; version=0.0.4");
        text = memory_string_n(x->response.body.data, x->response.body.length);
        exchange_close(x);
    }
    return text ? text : memory_string("");
}

/* The value on the line that begins with `name` and a space; -1 if there is none. */
static double value(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0 && line[n] == ' ') {
            return atof(line + n);
        }
    }
    return -1;
}

static void counts_what_the_server_does(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    char *text = scrape(&v);
    static const char *const zero[] = {
        "darkmatter_cache_hits_total",      "darkmatter_cache_misses_total",
        "darkmatter_tokens_computed_total", "darkmatter_passes_total",
        "darkmatter_prefix_tokens_total",   "darkmatter_prefix_texts",
        "darkmatter_prefix_bytes",          "darkmatter_queue_jobs",
        "darkmatter_queue_tokens",          "darkmatter_replies_bytes",
        "darkmatter_cached_texts",          "darkmatter_cached_rows"};
    for (size_t i = 0; i < TEST_COUNT(zero); i++) {
        CHECK(value(text, zero[i]) == 0);
    }
    CHECK(value(text, "darkmatter_database_bytes") > 0);
    memory_free(text);
    for (int i = 0; i < 2; i++) {
        struct v1_answer a =
            v1_post(&v, "/v1/activation/topk-by-token",
                    "{\"tokens\":[2,908,270],\"source\":\"2-gemmascope-res-2k\",\"top_k\":1}");
        CHECK(a.status == 200);
        v1_free(&a);
    }
    text = scrape(&v);
    CHECK(value(text, "darkmatter_cache_hits_total") == 1);
    CHECK(value(text, "darkmatter_cache_misses_total") == 1);
    CHECK(value(text, "darkmatter_tokens_computed_total") == 3);
    CHECK(value(text, "darkmatter_passes_total") == 1);
    CHECK(value(text, "darkmatter_cached_texts") == 1);
    CHECK(value(text, "darkmatter_cached_rows") == 3);
    memory_free(text);
    v1_close(&v);
}

static void counts_replies_by_route_and_status(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    metrics_request(&v.metrics, "/v1/trace", 200, 0.02);
    metrics_request(&v.metrics, "/v1/trace", 200, 0.02);
    metrics_request(&v.metrics, "/v1/trace", 413, 0.02);
    metrics_request(&v.metrics, NULL, 404, 0.02);
    char *text = scrape(&v);
    static const char name[] = "darkmatter_http_requests_total";
    char line[160];
    snprintf(line, sizeof line, "%s{route=\"/v1/trace\",status=\"200\"}", name);
    CHECK(value(text, line) == 2);
    snprintf(line, sizeof line, "%s{route=\"/v1/trace\",status=\"413\"}", name);
    CHECK(value(text, line) == 1);
    snprintf(line, sizeof line, "%s{route=\"unmatched\",status=\"404\"}", name);
    CHECK(value(text, line) == 1);
    memory_free(text);
    v1_close(&v);
}

static void has_a_histogram_of_every_route(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const double seconds[] = {0.0002, 0.02, 0.02, 0.5, 500};
    for (int i = 0; i < 5; i++) {
        metrics_request(&v.metrics, "/v1/trace", i ? 200 : 400, seconds[i]);
    }
    char *text = scrape(&v);
    static const struct {
        const char *le;
        double count;
    } buckets[] = {{"0.001", 1}, {"0.01", 1}, {"0.025", 3}, {"0.25", 3},
                   {"0.5", 4},   {"30", 4},   {"+Inf", 5}};
    static const char name[] = "darkmatter_http_request_duration_seconds";
    char line[160];
    for (int i = 0; i < 7; i++) {
        snprintf(line, sizeof line, "%s_bucket{route=\"/v1/trace\",le=\"%s\"}", name,
                 buckets[i].le);
        CHECK(value(text, line) == buckets[i].count);
    }
    snprintf(line, sizeof line, "%s_count{route=\"/v1/trace\"}", name);
    CHECK(value(text, line) == 5);
    snprintf(line, sizeof line, "%s_sum{route=\"/v1/trace\"}", name);
    CHECK_NEAR(value(text, line), 500.5402, 1e-3);
    memory_free(text);
    v1_close(&v);
}

/* Every line is a comment or a sample of a metric that HELP and TYPE have introduced. */
static void is_well_formed(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    metrics_request(&v.metrics, "/health", 200, 0.02);
    char *text = scrape(&v);
    char introduced[80] = "";
    int samples = 0;
    CHECK(text[0] && text[strlen(text) - 1] == '\n');
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char name[80];
        if (sscanf(line, "# TYPE %79s", name) == 1) {
            snprintf(introduced, sizeof introduced, "%s", name);
            CHECK(strstr(line, " counter") || strstr(line, " gauge") || strstr(line, " histogram"));
        } else if (line[0] != '#') {
            size_t n = strlen(introduced);
            size_t end =
                n + strcspn(line + n, " {"); /* a histogram's have an ending of their own */
            CHECK(n > 0 && strncmp(line, introduced, n) == 0 && (end == n || line[n] == '_'));
            CHECK(strncmp(line, "darkmatter_", 11) == 0);
            samples++;
        } else {
            CHECK(strncmp(line, "# HELP ", 7) == 0);
        }
    }
    CHECK(samples >= 9);
    memory_free(text);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(counts_what_the_server_does),
    TEST(counts_replies_by_route_and_status),
    TEST(has_a_histogram_of_every_route),
    TEST(is_well_formed),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
