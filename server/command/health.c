/* darkmatter health: exit 0 if a server answers GET /health with 200 on --host and --port. Small
 * and without dependencies, because a container runs it every few seconds. */
#include "server/command/command.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int dial(const char *host, int port)
{
    /* A server that listens everywhere is asked on this machine. */
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    char service[16];
    (void)snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(any ? "127.0.0.1" : host, service, &hints, &found) != 0) {
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        struct timeval timeout = {.tv_sec = 5};
        if (fd >= 0) {
            (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
            (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
        }
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            (void)close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

bool command_is_answered(const struct options *options)
{
    int fd = dial(options->host, options->port);
    char reply[64] = "";
    if (fd >= 0) {
        static const char request[] =
            "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        if (write(fd, request, sizeof request - 1) == (ssize_t)sizeof request - 1) {
            ssize_t n = read(fd, reply, sizeof reply - 1);
            reply[n > 0 ? n : 0] = '\0';
        }
        (void)close(fd);
    }
    return strncmp(reply, "HTTP/1.1 200", 12) == 0;
}

int command_health(const struct options *options)
{
    if (command_is_answered(options)) {
        (void)puts("healthy");
        return EXIT_OK;
    }
    struct status st;
    status_set(&st, STATUS_IO, "no healthy server on %s, port %d", options->host, options->port);
    return command_failed(&st);
}
