/* An HTTP client for measuring a server on this machine: one request over and over, on several
 * connections that stay open, each asking again as soon as it was answered. */
#ifndef DM_COMMAND_BENCH_LOAD_H
#define DM_COMMAND_BENCH_LOAD_H

#include "core/base/status.h"
#include "core/base/text.h"

#include <stddef.h>

struct bench_load {
    int port;         /* of 127.0.0.1 */
    const char *path; /* "/v1/activation/source" */
    const char *body; /* POSTed; NULL: a GET */
    int connections;
    double seconds;

    /* The reply: */
    double per_second;
    double median_ms, p99_ms, worst_ms; /* from the first byte sent to the last one received */
};

/* Another answer than 200 is STATUS_INTERNAL with its first line. */
int bench_load_run(struct bench_load *load, struct status *st);

/* One request; the reply's body is appended. */
int bench_load_ask(int port, const char *path, const char *body, struct text *reply,
                   struct status *st);

#endif
