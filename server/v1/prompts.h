/* What a request asks about: texts or token ids, one or a batch.
 *
 * Everywhere a `prompt` is taken, `tokens` (ids, used exactly as given) is taken instead; batches
 * take `prompts` or `tokens` as a list of lists. A text gets <bos> in front unless it starts with a
 * literal "<bos>". Each prompt may have --token-limit tokens, <bos> among them. */
#ifndef DM_V1_PROMPTS_H
#define DM_V1_PROMPTS_H

#include "server/app.h"
#include "server/http/emit.h"
#include "server/v1/fields.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Neuronpedia takes 4 (16 in raw); a batch here is one forward pass, so more are welcome. */
#define PROMPTS_MAX 64

struct prompt {
    int32_t *ids; /* [n_ids], n_ids >= 1 */
    size_t n_ids;
};

struct prompts {
    struct prompt *items;
    size_t n;
    bool batch;
    const char *field; /* where they stood: "prompt", "prompts" or "tokens" */
};

/* Reads them; what is wrong stands in f->st. Free with prompts_free in either case. */
void prompts_read(struct prompts *prompts, const struct app *app, struct fields *f);
void prompts_read_batch(struct prompts *prompts, const struct app *app, struct fields *f);
void prompts_free(struct prompts *prompts);

/* "prompt", or "prompts[2]": how messages name one of them. */
void prompts_label(const struct prompts *prompts, size_t i, char label[FIELDS_NAME]);

/* True if position 0 is <bos>: the rules that leave it out apply then, and only then. */
bool prompts_has_bos(const struct app *app, const struct prompt *prompt);

/* The text of one prompt as ids; STATUS_INVALID "Text too long: N tokens, max is M" over the
 * limit. *ids is the caller's. */
int prompts_tokenize(const struct app *app, const char *text, bool add_bos, const char *label,
                     int32_t **ids, size_t *n_ids, struct status *st);

/* ["<bos>", " dog"]: each id's text on its own. */
void prompts_emit_tokens(struct emitter *w, const struct app *app, const int32_t *ids, size_t n);

#endif
