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

void progress_reading(struct progress *p, char out[64], size_t reading, size_t readings,
                      const char *why)
{
    out[0] = '\0';
    if (readings > 1) {
        (void)snprintf(out, 64, "reading %zu of %zu: ", reading, readings);
        if (!p->told) {
            (void)fprintf(stderr, "%s, so they take turns: %zu readings of the corpus\n", why,
                          readings);
            p->told = true;
        }
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
