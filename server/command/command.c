#include "server/command/command.h"

#include <stdio.h>

int command_failed(const struct status *st)
{
    (void)fprintf(stderr, "darkmatter: %s\n", st->message);
    return EXIT_FAILED;
}

void command_notice(void *user, const char *line)
{
    (void)user;
    (void)fprintf(stderr, "note: %s\n", line);
}
