/* The counters behind GET /metrics that nobody else keeps: cache hits and misses, replies by route.
 * Tokens computed come from the engine, the depth of the queue from the queue. Safe from any
 * thread. */
#ifndef DM_METRICS_H
#define DM_METRICS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Routes times statuses; a server whose table is larger counts the rest under the last entry. */
#define METRICS_COUNTS 512

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
};

void metrics_init(struct metrics *metrics); /* all counters at 0 */
void metrics_destroy(struct metrics *metrics);

void metrics_cache(struct metrics *metrics, size_t hits, size_t misses);

/* One more reply; route is the pattern and must outlive metrics, NULL for a path without one. */
void metrics_request(struct metrics *metrics, const char *route, int status);

/* Copies at most `capacity` counts, in the order in which they first occurred; returns how many. */
size_t metrics_requests(struct metrics *metrics, struct metrics_count *counts, size_t capacity);

#endif
