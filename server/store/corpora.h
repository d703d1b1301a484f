/* Which corpora stand behind a source. */
#ifndef DM_STORE_CORPORA_H
#define DM_STORE_CORPORA_H

#include "core/base/text.h"
#include "server/store/store.h"

/* Appends the JSON list of the names of the corpora that the source was run over, in the order in
 * which they were added, each once: ["demo-corpus.jsonl"]. */
int corpora_names(struct store *store, int64_t source, struct text *json, struct status *st);

#endif
