#include "server/http/ready.h"

#include "core/base/memory.h"
#include "server/http/listener.h"

#include <microhttpd.h>
#include <stdbool.h>

enum { THREADS = 2 };

struct ready {
    struct MHD_Daemon *daemon;
    struct MHD_Response *response;
    int port;
};

static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection,
                                  const char *target, const char *method, const char *version,
                                  const char *bytes, size_t *n, void **context)
{
    (void)target, (void)method, (void)version, (void)bytes;
    const struct ready *ready = argument;
    if (!*context) { /* the headers; an answer now would close the connection of a POST */
        *context = argument;
        return MHD_YES;
    }
    if (*n) {
        *n = 0;
        return MHD_YES;
    }
    return MHD_queue_response(connection, 200, ready->response);
}

int ready_start(struct ready **out, const void *body, size_t n, struct status *st)
{
    *out = NULL;
    struct ready *ready = memory_zalloc(1, sizeof *ready);
    if (!ready) {
        return status_no_memory(st, sizeof *ready);
    }
    union {
        const void *bytes;
        void *buffer; /* libmicrohttpd does not write to a persistent one */
    } given = {.bytes = body};
    int fd = -1;
    int code = listener_open("127.0.0.1", 0, &fd, st);
    if (code) {
        memory_free(ready);
        return code;
    }
    ready->port = listener_port(fd);
    ready->response = MHD_create_response_from_buffer(n, given.buffer, MHD_RESPMEM_PERSISTENT);
    ready->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, ready, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_END);
    if (!ready->response || !ready->daemon) {
        ready_stop(ready);
        return status_set(st, STATUS_IO, "libmicrohttpd cannot be started");
    }
    *out = ready;
    return STATUS_OK;
}

int ready_port(const struct ready *ready)
{
    return ready->port;
}

void ready_stop(struct ready *ready)
{
    if (!ready) {
        return;
    }
    if (ready->daemon) {
        MHD_stop_daemon(ready->daemon);
    }
    if (ready->response) {
        MHD_destroy_response(ready->response);
    }
    memory_free(ready);
}
