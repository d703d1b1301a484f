#include "server/metrics.h"

#include <string.h>

/* From an answer out of the cache to a long prompt behind others. */
const double metrics_bounds[METRICS_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                0.25,  0.5,    1,     2.5,  5,     10,   30};

void metrics_init(struct metrics *metrics)
{
    memset(metrics, 0, sizeof *metrics);
    atomic_init(&metrics->cache_hits, 0);
    atomic_init(&metrics->cache_misses, 0);
    pthread_mutex_init(&metrics->lock, NULL);
}

void metrics_destroy(struct metrics *metrics)
{
    pthread_mutex_destroy(&metrics->lock);
}

void metrics_cache(struct metrics *metrics, size_t hits, size_t misses)
{
    atomic_fetch_add(&metrics->cache_hits, hits);
    atomic_fetch_add(&metrics->cache_misses, misses);
}

static struct metrics_count *find(struct metrics *metrics, const char *route, int status)
{
    for (size_t i = 0; i < metrics->n_counts; i++) {
        struct metrics_count *count = &metrics->counts[i];
        if (count->status == status && strcmp(count->route, route) == 0) {
            return count;
        }
    }
    if (metrics->n_counts == METRICS_COUNTS) {
        return &metrics->counts[METRICS_COUNTS - 1];
    }
    struct metrics_count *count = &metrics->counts[metrics->n_counts++];
    *count = (struct metrics_count){.route = route, .status = status};
    return count;
}

static struct metrics_latency *find_latency(struct metrics *metrics, const char *route)
{
    for (size_t i = 0; i < metrics->n_latencies; i++) {
        if (strcmp(metrics->latencies[i].route, route) == 0) {
            return &metrics->latencies[i];
        }
    }
    if (metrics->n_latencies == METRICS_ROUTES) {
        return &metrics->latencies[METRICS_ROUTES - 1];
    }
    struct metrics_latency *latency = &metrics->latencies[metrics->n_latencies++];
    *latency = (struct metrics_latency){.route = route};
    return latency;
}

void metrics_request(struct metrics *metrics, const char *route, int status, double seconds)
{
    const char *name = route ? route : "unmatched";
    size_t bucket = 0;
    while (bucket < METRICS_BUCKETS && seconds > metrics_bounds[bucket]) {
        bucket++;
    }
    pthread_mutex_lock(&metrics->lock);
    find(metrics, name, status)->requests++;
    struct metrics_latency *latency = find_latency(metrics, name);
    latency->count++;
    latency->seconds += seconds;
    if (bucket < METRICS_BUCKETS) {
        latency->within[bucket]++;
    }
    pthread_mutex_unlock(&metrics->lock);
}

size_t metrics_latencies(struct metrics *metrics, struct metrics_latency *latencies,
                         size_t capacity)
{
    pthread_mutex_lock(&metrics->lock);
    size_t n = metrics->n_latencies < capacity ? metrics->n_latencies : capacity;
    memcpy(latencies, metrics->latencies, n * sizeof *latencies);
    pthread_mutex_unlock(&metrics->lock);
    return n;
}

size_t metrics_requests(struct metrics *metrics, struct metrics_count *counts, size_t capacity)
{
    pthread_mutex_lock(&metrics->lock);
    size_t n = metrics->n_counts < capacity ? metrics->n_counts : capacity;
    memcpy(counts, metrics->counts, n * sizeof *counts);
    pthread_mutex_unlock(&metrics->lock);
    return n;
}
