/* Corpora and their documents (contexts), how far each source was run over them, and jobs. */
#ifndef DM_STORE_DOCUMENTS_H
#define DM_STORE_DOCUMENTS_H

#include "server/store/store.h"

/* The row of a corpus, made when new. settings is canonical JSON: another way of cutting is another
 * corpus. */
int store_corpus(struct store *store, int64_t model, const char *name, const char *settings,
                 int64_t *corpus, struct status *st);

struct store_document {
    const int32_t *ids;
    size_t n;
    int64_t line;
};

/* Appends documents first .. first+n-1 (first = how many there are) and moves the sources' marks to
 * first + n and to `tokens` more counted tokens, in one transaction. Documents that are there
 * already are compared: another text at the same number is STATUS_INVALID ("the corpus has
 * changed"). A source whose mark is at first + n or beyond keeps it; one whose mark is neither that
 * nor at first is STATUS_INTERNAL. */
int store_write_documents(struct store *store, int64_t model, int64_t corpus, int64_t first,
                          const struct store_document *documents, size_t n, const int64_t *sources,
                          size_t n_sources, int64_t tokens, struct status *st);

/* How many documents of the corpus this source has behind it, and their counted tokens. */
int store_indexed(struct store *store, int64_t source, int64_t corpus, int64_t *documents,
                  int64_t *tokens, struct status *st);

/* Calls visit for every text that the source was run over, in the order of text rows (the same on
 * every machine for the same run order is not needed: statistics do not depend on it): its ids, the
 * documents it stands in (corpus, number; rising), and its activation rows. Stops at visit's
 * non-zero return and returns it. Positions whose row is missing or damaged make the whole an error
 * that names the text. */
struct store_place {
    int64_t corpus, number;
};
struct store_visit {
    int64_t text;
    const int32_t *ids;
    size_t n;
    const struct store_place *places; /* [n_places], at least 1 */
    size_t n_places;
    const struct sparse *rows; /* [n] active features */
};
int store_visit_indexed(struct store *store, int64_t source,
                        int (*visit)(void *user, const struct store_visit *v, struct status *st),
                        void *user, struct status *st);

/* The same for one text. *found is false if it stands in no document that the source was run over.
 */
int store_visit_text(struct store *store, int64_t source, int64_t text,
                     int (*visit)(void *user, const struct store_visit *v, struct status *st),
                     void *user, bool *found, struct status *st);

/* --- jobs ------------------------------------------------------------------------------------- */

int store_job_start(struct store *store, const char *kind, const char *request, int64_t *job,
                    struct status *st);
/* progress NULL: as it was; error NULL: "". */
int store_job_update(struct store *store, int64_t job, const char *state, const char *progress,
                     const char *error, struct status *st);
/* Marks jobs that a killed process left "running" as "interrupted". Call once, when serving starts.
 */
int store_jobs_recover(struct store *store, struct status *st);
/* The last `limit` jobs, newest first. Strings are valid during the call. */
struct store_job {
    int64_t id;
    const char *kind, *state, *request, *progress, *error, *started_at, *changed_at;
};
int store_jobs(struct store *store, size_t limit,
               int (*visit)(void *user, const struct store_job *job), void *user,
               struct status *st);

#endif
