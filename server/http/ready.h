/* The yardstick for cached replies: libmicrohttpd sending a body that is ready, with nothing of
 * ours around it. */
#ifndef DM_HTTP_READY_H
#define DM_HTTP_READY_H

#include "core/base/status.h"

#include <stddef.h>

struct ready;

/* Answers every request on 127.0.0.1 with the same body (borrowed) of n bytes, by as many threads
 * as http_server_start has. */
int ready_start(struct ready **out, const void *body, size_t n, struct status *st);
int ready_port(const struct ready *ready);
void ready_stop(struct ready *ready); /* NULL is fine */

#endif
