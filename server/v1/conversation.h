/* The messages of a conversation in a request, as the text and the ids that the model reads. */
#ifndef DM_V1_CONVERSATION_H
#define DM_V1_CONVERSATION_H

#include "core/gemma/chat_template.h"
#include "server/app.h"
#include "server/http/emit.h"
#include "server/v1/fields.h"

struct conversation {
    struct chat_message *messages; /* [n], contents owned, roles borrowed from the body */
    size_t n;
    struct text text;        /* rendered by the model's template */
    struct chat_span *spans; /* [n_spans] of the text */
    size_t n_spans;
    int32_t *ids; /* [n_ids] */
    size_t n_ids;
};

/* Reads [{role, content}], content a string or a list of {type: "text", text}, from the field.
 * A model without a chat template is STATUS_INVALID and told to use /v1/steer/completion. What is
 * wrong stands in f->st; free with conversation_free in either case. */
void conversation_read(struct conversation *conversation, const struct app *app, struct fields *f,
                       const char *field, bool add_generation_prompt);
void conversation_free(struct conversation *conversation);

/* {"role": ..., "content": ...} of every message, into an array that is open. */
void conversation_emit(struct emitter *w, const struct conversation *conversation);

/* Where each token begins in the text: [n_ids], the caller's; NULL without memory. */
size_t *conversation_offsets(const struct conversation *conversation, const struct app *app);

#endif
