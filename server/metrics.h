/* The counters behind GET /metrics that nobody else keeps: cache hits and misses, replies by route
 * and how long they took. Tokens computed come from the engine, the depth of the queue from the
 * queue. Safe from any thread. */
#ifndef DM_METRICS_H
#define DM_METRICS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Routes times statuses; a server whose table is larger counts the rest under the last entry. */
#define METRICS_COUNTS 512
#define METRICS_ROUTES 128

/* Upper bounds of the histogram's buckets, in seconds; what is beyond the last counts in none. */
#define METRICS_BUCKETS 14
extern const double metrics_bounds[METRICS_BUCKETS];

struct metrics_latency {
    const char *route;
    uint64_t within[METRICS_BUCKETS]; /* within[i]: replies that took metrics_bounds[i] at most and
                                         more than the bound before */
    uint64_t count;
    double seconds; /* of all of them together */
};

struct metrics_count {
    const char *route; /* a route's pattern (a static string), "unmatched" where there was none */
    int status;
    uint64_t requests;
};

struct metrics {
    atomic_ullong cache_hits;   /* (prompt, source) pairs answered from the database */
    atomic_ullong cache_misses; /* pairs that the model had to compute */
    pthread_mutex_t lock;       /* over what follows */
    struct metrics_count counts[METRICS_COUNTS];
    size_t n_counts;
    struct metrics_latency latencies[METRICS_ROUTES];
    size_t n_latencies;
};

void metrics_init(struct metrics *metrics); /* all counters at 0 */
void metrics_destroy(struct metrics *metrics);

void metrics_cache(struct metrics *metrics, size_t hits, size_t misses);

/* One more reply and how long it took; route is the pattern and must outlive metrics, NULL for a
 * path without one. */
void metrics_request(struct metrics *metrics, const char *route, int status, double seconds);

/* Copies at most `capacity` counts, in the order in which they first occurred; returns how many. */
size_t metrics_requests(struct metrics *metrics, struct metrics_count *counts, size_t capacity);

/* The same for how long they took, by route. */
size_t metrics_latencies(struct metrics *metrics, struct metrics_latency *latencies,
                         size_t capacity);

#endif
