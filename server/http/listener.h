/* The socket that a server listens on. */
#ifndef DM_HTTP_LISTENER_H
#define DM_HTTP_LISTENER_H

#include "core/base/status.h"

/* Binds host (IPv4, IPv6 or a name) and port (0: any free one) and listens, without blocking; *fd
 * is the caller's. A port in use, a host that does not resolve or is not ours: STATUS_IO with the
 * address and what to do; a port that is none: STATUS_INVALID. */
int listener_open(const char *host, int port, int *fd, struct status *st);

/* The port that fd is bound to, 0 if it is not. */
int listener_port(int fd);

#endif
