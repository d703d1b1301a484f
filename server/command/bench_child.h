/* A server of this very program, started to be measured. */
#ifndef DM_COMMAND_BENCH_CHILD_H
#define DM_COMMAND_BENCH_CHILD_H

#include "core/base/status.h"
#include "server/command/options.h"

#include <sys/types.h>

struct bench_child {
    pid_t pid; /* 0: none */
    int port;
    double seconds; /* from its start until it said that it listens */
};

/* Serves what the options name on a free port of 127.0.0.1; database and messages lie in `folder`.
 * One that ends before it listens is STATUS_IO with its last message. */
int bench_child_start(struct bench_child *child, const struct options *options,
                      enum precision precision, const char *folder, struct status *st);

/* Memory of it that no file backs, in bytes (RssAnon); 0: unknown. */
double bench_child_memory(const struct bench_child *child);

void bench_child_stop(struct bench_child *child); /* waits for its end; none is fine */

#endif
