/* Who asks: a number that stands for one client, so that the queue can let clients take turns. It
 * is no proof of anything and guards nothing. */
#ifndef DM_HTTP_CLIENT_H
#define DM_HTTP_CLIENT_H

#include "server/http/exchange.h"

#include <stdint.h>

struct sockaddr;

/* By the peer's address (IPv6: its /64). Peers on this machine are many people behind one address:
 * there X-Forwarded-For (a proxy's word) and User-Agent (a page beside a script) count as well.
 * peer may be NULL. */
uint64_t client_of(const struct sockaddr *peer, const struct request *request);

#endif
