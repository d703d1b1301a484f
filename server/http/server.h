/* The HTTP server: the only module that includes libmicrohttpd. */
#ifndef DM_HTTP_SERVER_H
#define DM_HTTP_SERVER_H

#include "server/http/router.h"

struct http_server;

struct http_options {
    const char *host; /* "127.0.0.1", "::1", "0.0.0.0", a name is resolved */
    int port;         /* 0: any free one, see http_server_port */
    int threads;      /* of MHD's pool; 0: 2 */
    int connections;  /* at most this many at a time; 0: 4096 */
    int timeout_s;    /* an idle or slow connection is closed; 0: 60 */
};

/* Listens. A port in use, a host that does not resolve or is not ours: STATUS_IO with the address
 * and what to do (--port, or stop the other one). router must outlive the server. */
int http_server_start(struct http_server **out, const struct http_options *options,
                      const struct router *router, struct status *st);

int http_server_port(const struct http_server *server);

/* Takes no new connections; those open are answered. */
void http_server_quiesce(struct http_server *server);

/* Exchanges that have begun and are not finished. */
int http_server_active(const struct http_server *server);

/* Closes everything and frees the server. Nothing may be suspended any more. */
void http_server_stop(struct http_server *server);

#endif
