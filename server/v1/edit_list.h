/* The field `edits` of a request (docs/api.md, "Edits"): what is to be done to the rows on their
 * way, in request order. */
#ifndef DM_V1_EDIT_LIST_H
#define DM_V1_EDIT_LIST_H

#include "server/app.h"
#include "server/v1/fields.h"
#include "server/v1/prompts.h"

#define EDIT_LIST_MAX 256

struct edit_list {
    struct edit *items; /* with their own indices, values, vectors and positions */
    size_t n;
};

/* Reads and checks the field; absent is an empty list. Positions count in the prompt, negative ones
 * from its end, and lie below `end`. What is wrong stands in f->st and names "edits[i].field". Free
 * with edit_list_free in either case. */
void edit_list_read(struct edit_list *list, const struct app *app, struct fields *f,
                    const struct prompt *prompt, size_t end);

/* Room for n edits more; the first of them, zeroed, is returned, and list->n is as it was. */
struct edit *edit_list_grow(struct edit_list *list, size_t n, struct status *st);

void edit_list_free(struct edit_list *list);

#endif
