/* Whose turn it is at the model, by the time that each kind of work has taken. Passes over prompts
 * (a large request's slices above all) and texts that are continued share it equally, so that a
 * token need not wait for a pass each; background work has a tenth while others wait, so that an
 * index moves on under a load that never ends. Without others each has all of it. */
#ifndef DM_WORK_TURNS_H
#define DM_WORK_TURNS_H

#include <stdbool.h>

/* Others have so many times as long as a background job took, before the next. */
#define TURNS_BACKGROUND 9.0

/* Zeroed: it is everybody's turn. Times are clock_seconds. */
struct turns {
    double texts_until;     /* what the last pass took is the texts' until then */
    double background_from; /* a background job goes before others from then on */
};

/* A pass, or a background job, is over now and took so many seconds. */
void turns_passed(struct turns *turns, double now, double seconds);
void turns_background_passed(struct turns *turns, double now, double seconds);

/* Whether large passes have to wait while there are texts to be continued. */
bool turns_are_texts(const struct turns *turns, double now);

/* Whether a background job goes before all others. */
bool turns_are_background(const struct turns *turns, double now);

#endif
