/* What golden.c (the file and the run), golden_check.c (what every check has), golden_points.c,
 * golden_lens.c and golden_features.c (the kinds) and golden_compare.c (numbers against numbers)
 * share. */
#ifndef DM_COMMAND_GOLDEN_PRIVATE_H
#define DM_COMMAND_GOLDEN_PRIVATE_H

#include "core/base/json.h"
#include "server/app.h"
#include "server/command/golden.h"
#include "server/v1/edit_list.h"

struct golden {
    char *path;
    cJSON *root;
    const cJSON *checks; /* an array that is not empty */
};

/* |found - expected| <= absolute + relative |expected| */
struct tolerance {
    double absolute, relative;
};

/* --- golden_compare.c ------------------------------------------------------------------------- */

/* What was compared in one line so far; start zeroed, end with comparison_free. */
struct comparison {
    size_t n, n_wrong;
    double worst; /* of those compared: how much of the tolerance is used up; over 1 is wrong */
    struct text item, expected, found, tolerance;
};

void comparison_number(struct comparison *c, const char *item, double expected, double found,
                       struct tolerance tolerance);
/* A bound that is kept by anything below it. */
void comparison_at_most(struct comparison *c, const char *item, double bound, double found,
                        struct tolerance tolerance);
void comparison_text(struct comparison *c, const char *item, const char *expected,
                     const char *found);
void comparison_free(struct comparison *c);

/* The id that a file means by " very" or 576; -1 if the vocabulary has no such token. */
int32_t golden_token(const struct engine *engine, const cJSON *token);

/* What one position says of the next token: of a table's tokens, line by line, and of the likeliest
 * one that the table leaves out. */
struct golden_row {
    const int32_t *ids; /* [n] -1: the vocabulary has no such token */
    size_t n;
    const float *logits, *probs; /* [n] */
    int32_t other;               /* -1: there is none */
    float other_prob;
};
bool golden_row_has(const struct golden_row *row, int32_t id);

/* A row against its table: [token, logit, probability] or [token, probability] a line, best first.
 * A token that is not in the table may not be likelier than its last line. */
void golden_compare_top(struct comparison *c, const struct engine *engine, const cJSON *table,
                        const struct golden_row *row, struct tolerance logit,
                        struct tolerance probability);

/* --- golden_check.c --------------------------------------------------------------------------- */

struct run;
struct check;

struct check_kind {
    const char *name;
    int (*open)(struct check *c, const struct run *run, struct status *st);  /* adds the reads */
    int (*judge)(const struct run *run, struct check *c, struct status *st); /* and reports */
};
const struct check_kind *golden_points_kind(const char *name); /* NULL: none of that name */
const struct check_kind *golden_features_kind(const char *name);
int golden_lens_open(struct check *c, const struct run *run, struct status *st);
int golden_lens_judge(const struct run *run, struct check *c, struct status *st);

/* One entry of "checks", on its way. */
struct check {
    cJSON *json; /* a copy, whose edits name the source that was found */
    const char *name;
    const struct check_kind *kind;
    struct prompt prompt;
    struct edit_list edits;
    const struct sae_source *source; /* NULL without one */
    int32_t position;                /* whose row most kinds look at */
    int32_t *rows;                   /* [n_reads] what `positions` of the reads point to */
    struct engine_read *reads;
    size_t n_reads;
    struct text skipped; /* why it cannot run; empty if it can */
};

struct run {
    const struct golden *golden;
    struct app app; /* only the engine and the limit: for prompts and edits */
    struct session *session;
    struct check *checks;
    size_t n_checks;
    void (*report)(void *user, const struct golden_line *line);
    void *user;
};

/* Parses one check and says what it wants to read. Close it in either case. */
int check_open(struct check *c, const struct run *run, const cJSON *json, struct status *st);
void check_skip(const struct run *run, const struct check *c); /* reports it as skipped */
void check_close(struct check *c);

/* For the kinds. STATUS_CORRUPT: the file, the check, the field, what was expected there. */
int check_corrupt(const struct run *run, const struct check *c, const char *field,
                  const char *expected, struct status *st);
const cJSON *check_list(const struct run *run, const struct check *c, const cJSON *of,
                        const char *field, struct status *st);
/* Lines of a name or an index and `low` to `high` numbers. */
int check_table(const struct run *run, const struct check *c, const cJSON *table, int low, int high,
                struct status *st);
/* "position" of an object, -1 (the last) without one. */
int check_position(const struct run *run, const struct check *c, const cJSON *of, int32_t *position,
                   struct status *st);
/* "tolerance": {"logit": [absolute, relative]} of the check, else of the file, else nothing off. */
struct tolerance check_tolerance(const struct run *run, const struct check *c, const char *of);

/* A point by its name. */
int check_point(const struct run *run, const struct check *c, const char *name, enum point *point,
                int *layer, struct status *st);

/* Room for n reads, and one more read of one row. */
int check_make_reads(struct check *c, size_t n, struct status *st);
int check_add_point(const struct run *run, struct check *c, const char *name, int32_t position,
                    struct status *st);

/* What was compared becomes a line; part may be NULL. Frees the comparison. */
void check_report(const struct run *run, const struct check *c, const char *part,
                  struct comparison *found);

#endif
