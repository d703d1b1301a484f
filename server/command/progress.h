/* Progress of long work on stderr: a bar on a terminal, a line every few seconds elsewhere. */
#ifndef DM_COMMAND_PROGRESS_H
#define DM_COMMAND_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct progress {
    bool bar;     /* stderr is a terminal */
    double shown; /* when something was last shown */
    bool told;    /* why there are several readings */
};

struct progress progress_start(void);

/* Shows "share" (0..1) of the work as a bar, and the line; too soon after the last time, nothing.
 */
void progress_show(struct progress *progress, double share, const char *line);

void progress_end(const struct progress *progress); /* the bar goes away */

/* "reading 2 of 3: ", or "" for one reading; says once why there are several. */
void progress_reading(struct progress *progress, char out[64], size_t reading, size_t readings,
                      const char *why);

/* "1:05", "2:00:00", "?" for less than 0 */
void progress_time(char out[32], double seconds);

#endif
