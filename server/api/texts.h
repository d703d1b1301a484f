/* The text of a request of the web API: one string or a list of them, or `tokens` (ids) instead. */
#ifndef DM_API_TEXTS_H
#define DM_API_TEXTS_H

#include "server/v1/prompts.h"

/* Reads `name` (or `tokens`: a list of ids, or of such lists) into *prompts; a list, even of one,
 * makes a batch of at most `most`. What is wrong stands in f->st. */
void texts_read(struct prompts *prompts, const struct app *app, struct fields *f, const char *name,
                size_t most);

#endif
