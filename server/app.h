/* What every handler sees: the engine, the database, the queue, the limits, the counters. */
#ifndef DM_APP_H
#define DM_APP_H

#include "core/engine.h"
#include "server/http/request_log.h"
#include "server/store/store.h"
#include "server/work/queue.h"
#include "server/work/sources.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define APP_VERSION "0.1.0"

struct metrics;
struct index_jobs;
struct replies;

struct app {
    struct engine *engine;
    struct store *store;
    struct sources *sources;
    struct queue *queue;
    struct metrics *metrics;
    struct request_log log;
    struct index_jobs *index_jobs;
    struct replies *replies;    /* kept whole; NULL: none are */
    size_t token_limit;         /* --token-limit, never over max_position_embeddings */
    uint64_t reply_limit;       /* --reply-limit: bytes of a trace reply */
    const struct route *routes; /* the table, for /openapi.json */
    size_t n_routes;
    atomic_bool stopping;
};

#endif
