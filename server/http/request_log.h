/* Lines about requests on stderr, as text for people or as JSON, one object a line, for programs.
 *
 *     2026-11-25T11:02:03.123Z info POST /v1/tokenize 200, 312 bytes in 1.4 ms, id 6a1b-17
 *     {"time":"...","level":"info","event":"request","method":"POST","path":"/v1/tokenize",...}
 *
 * Never in a line: headers that the client sent (the secret is one), the query, bodies; the reply
 * of a 5xx, which is our own sentence, is. */
#ifndef DM_HTTP_REQUEST_LOG_H
#define DM_HTTP_REQUEST_LOG_H

#include "server/http/exchange.h"

#include <stdio.h>

enum request_log_format {
    REQUEST_LOG_QUIET, /* only 5xx and slow requests, as text */
    REQUEST_LOG_TEXT,
    REQUEST_LOG_JSON
};

struct request_log {
    enum request_log_format format;
    int slow_ms; /* requests that took at least as long are called slow; 0: none are */
    FILE *to;    /* NULL: nothing is written */
};

/* A finished exchange; bytes are those of its reply, us how long it took. Of a streamed
 * reply, which is as long as what it streams, only the time until what was computed began to come
 * counts as slow. From any thread. */
void request_log_exchange(const struct request_log *log, const struct exchange *x, size_t bytes,
                          int64_t us);

/* Something that is not about a request; level is "note" or "error", or NULL. */
void request_log_message(const struct request_log *log, const char *level, const char *message);

#endif
