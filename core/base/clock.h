/* Time that only goes forward: for rates, pauses and what is left to do. */
#ifndef DM_BASE_CLOCK_H
#define DM_BASE_CLOCK_H

/* Seconds since some moment in the past; setting the machine's clock does not move it. */
double clock_seconds(void);

#endif
