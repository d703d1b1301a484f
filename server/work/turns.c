#include "server/work/turns.h"

void turns_passed(struct turns *turns, double now, double seconds)
{
    turns->texts_until = now + seconds;
}

void turns_background_passed(struct turns *turns, double now, double seconds)
{
    turns->background_from = now + TURNS_BACKGROUND * seconds;
}

bool turns_are_texts(const struct turns *turns, double now)
{
    return now < turns->texts_until;
}

bool turns_are_background(const struct turns *turns, double now)
{
    return now >= turns->background_from;
}
