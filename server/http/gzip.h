/* Replies compressed for clients that ask for it (RFC 9110, 8.4 and 12.5.3). */
#ifndef DM_HTTP_GZIP_H
#define DM_HTTP_GZIP_H

#include "server/http/exchange.h"

#include <stdbool.h>

/* Smaller replies gain nothing; larger ones would keep a thread of the transport, and with it other
 * connections, for longer than the network takes on a machine's own wire. */
#define GZIP_LEAST ((size_t)1000)
#define GZIP_MOST ((size_t)16 << 20)

/* Whether an Accept-Encoding (NULL: none was sent) takes gzip. */
bool gzip_wanted(const char *accept_encoding);

/* Compresses the reply in place where the client takes it and text or JSON of that size is there;
 * else, and if memory runs out, leaves it. Says so in Content-Encoding, Vary and a weak ETag. */
void gzip_reply(struct exchange *x);

#endif
