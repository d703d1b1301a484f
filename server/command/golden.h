/* Published numbers of a real model, held against what the engine computes.
 *
 * A file of golden/ (golden/README.md describes it) names a model and lists checks: tokens, the
 * next token's logits, lens tables, values of a point, activations of an SAE, generated text; with
 * edits where the publication had some. The prompts of a file run as one packed pass,
 * its lens tables and texts one by one. */
#ifndef DM_COMMAND_GOLDEN_H
#define DM_COMMAND_GOLDEN_H

#include "core/engine.h"

enum golden_outcome { GOLDEN_OK, GOLDEN_FAILED, GOLDEN_SKIPPED };

/* One thing that was checked. The numbers are those of its value that is furthest off, in terms of
 * what it is allowed to be off; all strings are there, "" where there is nothing to say. */
struct golden_line {
    enum golden_outcome outcome;
    const char *what;
    const char *item; /* which of its values: "logit of \" much\"" */
    const char *expected, *found, *tolerance;
    const char *reason; /* GOLDEN_SKIPPED: what is missing and where to get it */
    size_t n, n_wrong;  /* values compared, values off */
};

struct golden;

/* STATUS_CORRUPT for a file that is not in the format, with the check and the field. */
int golden_open(struct golden **out, const char *path, struct status *st);
void golden_close(struct golden *golden); /* NULL is fine */

const char *golden_model(const struct golden *golden);  /* the model it holds for */
const char *golden_source(const struct golden *golden); /* where the numbers were published */

/* Runs every check; report is called once or more for each, in order. What is not on disk is
 * reported as skipped. An error is about the file or the machine, not about a number. */
int golden_run(const struct golden *golden, struct engine *engine,
               void (*report)(void *user, const struct golden_line *line), void *user,
               struct status *st);

#endif
