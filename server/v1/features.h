/* The way of every activation route: prompts x sources -> which features are active where.
 *
 * What the database has is read from there; the rest becomes one job on the queue, is computed,
 * kept, and handed back. Replies are written from the same sparse rows either way, so a body does
 * not tell the two apart; the header X-Darkmatter-Cache does: hit, miss, or partial. With
 * "no_store": true nothing is kept, and of a source whose feature is named no other is computed. */
#ifndef DM_V1_FEATURES_H
#define DM_V1_FEATURES_H

#include "core/base/sparse.h"
#include "core/sae/catalogue.h"
#include "server/v1/await.h"
#include "server/v1/fields.h"
#include "server/v1/prompts.h"

#include <stdbool.h>
#include <stddef.h>

/* x->state of an activation route. A handler calls features_create, reads its fields (errors stay
 * in fields.st), and returns features_run. */
struct features {
    struct await await; /* first, see await.h */
    cJSON *body;
    struct fields fields; /* of body */
    struct prompts prompts;
    const struct sae_source **sources; /* [n_sources], the catalogue's */
    size_t n_sources;
    bool only_one;       /* just this entry is wanted; set before features_run. Computed alone where
                            nothing is kept: of neurons, and with no_store */
    uint32_t entry;      /* ... */
    bool no_store;       /* the request's: what is computed for it is not kept */
    struct sparse *rows; /* [prompts.n * n_sources], prompt by prompt; rows of each: tokens */
    bool *found;         /* likewise: came from the database */
    void *options;       /* the handler's own, one block from memory_alloc, or NULL */
    enum http_next (*reply)(struct exchange *x, struct features *features);
};

/* Parses the body and makes the state; NULL when the response is filled already. Also checks
 * `model`. */
struct features *features_create(struct exchange *x);

/* The source that a field names; NULL with STATUS_NOT_FOUND in fields.st for an unknown one. */
const struct sae_source *features_source(struct features *features, const struct app *app,
                                         const char *field);

/* The same for a name that is at hand; `where` begins the message. */
const struct sae_source *features_find(struct features *features, const struct app *app,
                                       const char *name, const char *where);

/* Adds a source to be read (once, however often it is added). */
void features_add(struct features *features, const struct sae_source *source);

/* A set is what sources are called without their layer; the neurons' are "neurons" and "mlp_out".
 */
bool features_has_set(const struct app *app, const char *set);

/* Adds the sources of a set, those with a __suffix left out. */
void features_add_set(struct features *features, const struct app *app, const char *set);

/* For routes that list what is active. */
void features_refuse_neurons(struct features *features, const struct sae_source *source);

/* Adds the sources that a list names, each of which must belong to the set; `field` is the list's
 * name, for messages. */
void features_add_selected(struct features *features, const struct app *app, const char *field,
                           const cJSON *selected, const char *set);

/* Answers what fields.st says, or gets the rows and lets `reply` write the response. */
enum http_next features_run(struct exchange *x,
                            enum http_next (*reply)(struct exchange *x, struct features *features));

/* For routes that read points of the model and keep nothing: one job in which every prompt gets a
 * copy of the reads (of all positions, or of the last one only), then `reply`, which finds them in
 * features->await.job. The reads are checked before; what is wrong is answered. */
enum http_next features_read(struct exchange *x, const struct engine_read *reads, size_t n_reads,
                             bool last_only, enum http_next (*reply)(struct exchange *x));

const struct sparse *features_rows(const struct features *features, size_t prompt, size_t source);

#endif
