#include "server/http/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int bind_error(const char *host, int port, int error, struct status *st)
{
    bool v6 = strchr(host, ':') != NULL;
    char where[300];
    (void)snprintf(where, sizeof where, "%s%.250s%s:%d", v6 ? "[" : "", host, v6 ? "]" : "", port);
    switch (error) {
    case EADDRINUSE:
        return status_set(st, STATUS_IO,
                          "%s is in use (perhaps a darkmatter is running there already): stop the "
                          "program that listens there or choose another port with --port N",
                          where);
    case EADDRNOTAVAIL:
        return status_set(st, STATUS_IO,
                          "%s: this machine does not have that address; choose one of its own "
                          "with --host (127.0.0.1 for this machine alone, 0.0.0.0 for all)",
                          where);
    case EACCES:
        return status_set(st, STATUS_IO,
                          "%s: not permitted (ports below 1024 are often kept for root); choose "
                          "another port with --port N",
                          where);
    default:
        return status_set(st, STATUS_IO, "%s: cannot listen there: %s", where, strerror(error));
    }
}

static int listen_at(const struct addrinfo *at)
{
    int on = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    /* A server that was just stopped leaves connections behind that would block its port. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, SOMAXCONN)) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* IPv4 first: of "localhost", 127.0.0.1 is the address that every client tries. */
int listener_open(const char *host, int port, int *fd, struct status *st)
{
    static const int families[] = {AF_INET, AF_INET6};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[16];
    (void)snprintf(service, sizeof service, "%d", port);
    if (port < 0 || port > 65535) {
        return status_set(st, STATUS_INVALID, "--port %d: expected 0 to 65535", port);
    }
    int error = getaddrinfo(host, service, &hints, &found);
    if (error) {
        return status_set(st, STATUS_IO,
                          "--host %.200s: expected an address or a name of this machine: %s", host,
                          error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    }
    error = EADDRNOTAVAIL;
    for (int f = 0; f < 2 && *fd < 0; f++) {
        for (const struct addrinfo *at = found; at && *fd < 0; at = at->ai_next) {
            if (at->ai_family == families[f]) {
                *fd = listen_at(at);
                error = *fd < 0 ? errno : 0;
            }
        }
    }
    freeaddrinfo(found);
    return *fd < 0 ? bind_error(host, port, error, st) : STATUS_OK;
}

int listener_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    socklen_t size = sizeof at;
    memset(&at, 0, sizeof at);
    if (getsockname(fd, &at.any, &size)) {
        return 0;
    }
    return ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
}
