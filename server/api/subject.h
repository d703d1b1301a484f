/* What a request of the web API is about: the model, a source of it, and what is known of that
 * source: its SAE on disk, its dashboard if it was indexed, explanations and imported files.
 *
 * Unlike in /v1 the model counts: another one than the engine's is STATUS_NOT_FOUND. Bodies name a
 * source `source` or `layer` (Neuronpedia's API has both for the same thing). */
#ifndef DM_API_SUBJECT_H
#define DM_API_SUBJECT_H

#include "server/app.h"
#include "server/http/emit.h"
#include "server/http/exchange.h"
#include "server/store/dashboards.h"
#include "server/v1/fields.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero it, open it, and close it in any case. */
struct subject {
    const char *model;               /* the engine's id */
    char *name;                      /* of the source */
    const struct sae_source *source; /* the catalogue's; NULL if only files speak of it */
    int64_t row;                     /* of the database; 0 if source is NULL */
    bool indexed;                    /* there is a dashboard */
    struct store_dashboard dashboard;
};

/* STATUS_NOT_FOUND for another model than the engine's. */
int subject_check_model(const struct app *app, const char *model, struct status *st);

/* STATUS_NOT_FOUND for a source that is neither in the catalogue nor in imported files or
 * explanations. */
int subject_open(struct subject *s, const struct app *app, const char *model, const char *source,
                 struct status *st);
void subject_close(struct subject *s);

/* The same with the names that a body gives; what is wrong stands in f->st. */
void subject_check_model_field(const struct app *app, struct fields *f);
const char *subject_name_field(struct fields *f); /* `source` or `layer`; must be there */
void subject_open_fields(struct subject *s, const struct app *app, struct fields *f);

/* STATUS_NOT_FOUND for a source that is known from imported files only. */
int subject_need_sae(const struct subject *s, struct status *st);

/* "17" or 17 -> 17. STATUS_NOT_FOUND over the last feature, STATUS_INVALID for what is no index. */
int subject_index(const struct subject *s, const char *text, int64_t *index, struct status *st);
int64_t subject_index_field(const struct subject *s, struct fields *f);

/* The part of the dashboard's tokens that the feature is active on, as Neuronpedia keeps it:
 * read back from "%.3f%%", so in steps of 1e-5. 0 if not indexed. */
double subject_fraction(const struct subject *s, int64_t index);

/* `density_threshold`: -1 (keeps all) or a fraction between 0 and 1; and whether a feature is over
 * it. */
double subject_threshold_field(struct fields *f, double fallback);
bool subject_is_denser(const struct subject *s, int64_t index, double threshold);

/* Neuronpedia's Model and Source objects, and the members of a SourceSet. */
void subject_write_model(struct emitter *w, const struct app *app);
void subject_write_source(struct emitter *w, const struct subject *s);
void subject_write_set(struct emitter *w, const struct app *app, const char *set, bool dashboards);

/* "20-gemmascope-res-16k__l0-38" -> "gemmascope-res-16k" into set [size]. */
void subject_set_name(const char *source, char *set, size_t size);

#endif
