/* A field that names tokens of the vocabulary: ids, or texts that are one token. */
#ifndef DM_V1_TOKEN_LIST_H
#define DM_V1_TOKEN_LIST_H

#include "server/app.h"
#include "server/http/emit.h"
#include "server/v1/fields.h"

#include <stddef.h>
#include <stdint.h>

/* The list `name` of at most `most` tokens -> memory_alloc'd [*n]; NULL where it is absent or
 * empty. A text of several tokens is STATUS_INVALID and says which they are. What is wrong stands
 * in f->st. */
int32_t *token_list_read(struct fields *f, const struct app *app, const char *name, size_t most,
                         size_t *n);

/* The text of one id, as a string. */
void token_list_emit_text(struct emitter *w, const struct app *app, int32_t id);

/* [{"id": 17, "token": " the"}, ...] */
void token_list_emit(struct emitter *w, const struct app *app, const int32_t *ids, size_t n);

#endif
