/* GET /metrics: Prometheus's text format (exposition format 0.0.4). */
#include "server/metrics.h"
#include "core/base/memory.h"
#include "server/api/routes.h"
#include "server/app.h"
#include "server/http/replies.h"

static void write_one(struct text *out, const char *name, const char *kind, const char *help,
                      unsigned long long value)
{
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, kind, name, value);
}

static void write_requests(struct text *out, struct metrics *metrics)
{
    struct metrics_count *counts = memory_alloc(METRICS_COUNTS, sizeof *counts);
    size_t n = counts ? metrics_requests(metrics, counts, METRICS_COUNTS) : 0;
    text_string(out, "# HELP darkmatter_http_requests_total Replies by route and status.\n"
                     "# TYPE darkmatter_http_requests_total counter\n");
    for (size_t i = 0; i < n; i++) {
        text_printf(out, "darkmatter_http_requests_total{route=\"%s\",status=\"%d\"} %llu\n",
                    counts[i].route, counts[i].status, (unsigned long long)counts[i].requests);
    }
    memory_free(counts);
}

static void write_latency(struct text *out, const struct metrics_latency *l)
{
    static const char name[] = "darkmatter_http_request_duration_seconds";
    uint64_t within = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        within += l->within[i];
        text_printf(out, "%s_bucket{route=\"%s\",le=\"%g\"} %llu\n", name, l->route,
                    metrics_bounds[i], (unsigned long long)within);
    }
    text_printf(out, "%s_bucket{route=\"%s\",le=\"+Inf\"} %llu\n", name, l->route,
                (unsigned long long)l->count);
    text_printf(out, "%s_sum{route=\"%s\"} %.6f\n", name, l->route, l->seconds);
    text_printf(out, "%s_count{route=\"%s\"} %llu\n", name, l->route, (unsigned long long)l->count);
}

static void write_latencies(struct text *out, struct metrics *metrics)
{
    struct metrics_latency *latencies = memory_alloc(METRICS_ROUTES, sizeof *latencies);
    size_t n = latencies ? metrics_latencies(metrics, latencies, METRICS_ROUTES) : 0;
    text_string(out,
                "# HELP darkmatter_http_request_duration_seconds From the request line to the last "
                "byte of the reply handed to the system, by route.\n"
                "# TYPE darkmatter_http_request_duration_seconds histogram\n");
    for (size_t i = 0; i < n; i++) {
        write_latency(out, &latencies[i]);
    }
    memory_free(latencies);
}

enum http_next api_metrics(struct exchange *x)
{
    const struct app *app = x->app;
    struct text *out = &x->response.body;
    x->response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    write_one(out, "darkmatter_cache_hits_total", "counter",
              "Prompt and source pairs answered from the database.",
              atomic_load(&app->metrics->cache_hits));
    write_one(out, "darkmatter_cache_misses_total", "counter",
              "Prompt and source pairs that the model had to compute.",
              atomic_load(&app->metrics->cache_misses));
    write_one(out, "darkmatter_tokens_computed_total", "counter",
              "Tokens that went through the model.", engine_tokens_computed(app->engine));
    write_one(out, "darkmatter_passes_total", "counter",
              "Passes of the model, each for all requests that were there.",
              engine_passes_computed(app->engine));
    struct kv_prefixes_figures prefixes = engine_prefixes(app->engine);
    write_one(out, "darkmatter_prefix_tokens_total", "counter",
              "Tokens of texts to be continued that an earlier text had begun with, and that were "
              "not computed again.",
              prefixes.reused);
    write_one(out, "darkmatter_prefix_texts", "gauge",
              "Texts whose keys and values are held for that.", prefixes.texts);
    write_one(out, "darkmatter_prefix_bytes", "gauge", "Their memory (--prefix-memory).",
              prefixes.bytes);
    write_one(out, "darkmatter_replies_bytes", "gauge", "Replies that are kept to be sent again.",
              replies_bytes(app->replies));
    write_one(out, "darkmatter_queue_jobs", "gauge", "Requests that wait for the model.",
              queue_depth(app->queue));
    write_one(out, "darkmatter_queue_tokens", "gauge", "Tokens that wait for the model.",
              queue_tokens(app->queue));
    struct store_figures figures;
    struct status st = {0};
    if (store_figures(app->store, &figures, &st) == STATUS_OK) {
        write_one(out, "darkmatter_cached_texts", "gauge", "Token sequences in the database.",
                  (unsigned long long)figures.texts);
        write_one(out, "darkmatter_cached_rows", "gauge",
                  "Tokens whose active features are in the database, counted per source.",
                  (unsigned long long)figures.activations);
        write_one(out, "darkmatter_database_bytes", "gauge", "Size of the database file.",
                  (unsigned long long)figures.bytes);
    }
    write_requests(out, app->metrics);
    write_latencies(out, app->metrics);
    return HTTP_DONE;
}
