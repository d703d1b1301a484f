#include "server/command/progress.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 24 };
#define LINE_SECONDS 3.0
#define BAR_SECONDS 0.1

struct progress progress_start(void)
{
    return (struct progress){.bar = isatty(STDERR_FILENO) != 0};
}

void progress_time(char out[32], double seconds)
{
    long long s = seconds < 1e9 ? (long long)seconds : 0;
    if (seconds < 0.0) {
        (void)snprintf(out, 32, "?");
    } else if (s < 3600) {
        (void)snprintf(out, 32, "%lld:%02lld", s / 60, s % 60);
    } else {
        (void)snprintf(out, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    }
}

void progress_show(struct progress *p, double share, const char *line)
{
    char bar[BAR + 1];
    double t = clock_seconds();
    if (t - p->shown < (p->bar ? BAR_SECONDS : LINE_SECONDS)) {
        return;
    }
    p->shown = t;
    if (!p->bar) {
        (void)fprintf(stderr, "%s\n", line);
        return;
    }
    size_t full = share >= 1.0 ? BAR : (size_t)(share * BAR);
    memset(bar, '.', BAR);
    memset(bar, '#', full);
    bar[BAR] = '\0';
    (void)fprintf(stderr, "\r\033[K[%s] %s", bar, line);
    (void)fflush(stderr);
}

void progress_end(const struct progress *p)
{
    if (p->bar) {
        (void)fputs("\r\033[K", stderr);
    }
}
