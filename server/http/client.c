#include "server/http/client.h"

#include "core/base/hash.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

static bool add_address(struct hash *h, const struct sockaddr *peer)
{
    if (peer && peer->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, peer, sizeof v4);
        hash_add(h, &v4.sin_addr, sizeof v4.sin_addr);
        return (ntohl(v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
    }
    if (peer && peer->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, peer, sizeof v6);
        hash_add(h, &v6.sin6_addr, 8);
        return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    }
    return true;
}

static void add_header(struct hash *h, const struct request *request, const char *name)
{
    const char *value = request->header(request, name);
    if (value) {
        hash_add(h, value, strlen(value));
    }
    hash_add(h, "", 1);
}

uint64_t client_of(const struct sockaddr *peer, const struct request *request)
{
    struct hash h = hash_start();
    if (add_address(&h, peer)) {
        add_header(&h, request, "X-Forwarded-For");
        add_header(&h, request, "User-Agent");
    }
    return h.high ^ h.low;
}
