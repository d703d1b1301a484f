#include "server/command/command.h"

#include <stdio.h>
#include <string.h>

int command_failed(const struct status *st)
{
    (void)fprintf(stderr, "darkmatter: %s\n", st->message);
    return EXIT_FAILED;
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           strncmp(host, "127.", 4) == 0;
}

int command_check_access(const struct options *o, struct status *st)
{
    if (is_loopback(o->host) || o->secret || o->no_secret) {
        return STATUS_OK;
    }
    return status_set(
        st, STATUS_INVALID,
        "--host %s is reachable from other machines: set DARKMATTER_SECRET (clients send "
        "it as X-SECRET-KEY), or give --no-secret if the network is trusted",
        o->host);
}

void command_notice(void *user, const char *line)
{
    (void)user;
    (void)fprintf(stderr, "note: %s\n", line);
}
