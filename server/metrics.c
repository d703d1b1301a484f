#include "server/metrics.h"

#include <string.h>

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

void metrics_request(struct metrics *metrics, const char *route, int status)
{
    pthread_mutex_lock(&metrics->lock);
    find(metrics, route ? route : "unmatched", status)->requests++;
    pthread_mutex_unlock(&metrics->lock);
}

size_t metrics_requests(struct metrics *metrics, struct metrics_count *counts, size_t capacity)
{
    pthread_mutex_lock(&metrics->lock);
    size_t n = metrics->n_counts < capacity ? metrics->n_counts : capacity;
    memcpy(counts, metrics->counts, n * sizeof *counts);
    pthread_mutex_unlock(&metrics->lock);
    return n;
}
