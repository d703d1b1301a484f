/* Writes one source as Neuronpedia's export files: model.jsonl, sourceset.jsonl, source.jsonl and
 * the batches of features, activations and explanations (neuronpedia.md section 4). Our own
 * dashboard where there is one, else the imported lines as they came. The same database gives the
 * same bytes. */
#ifndef DM_WORK_EXPORT_LINES_H
#define DM_WORK_EXPORT_LINES_H

#include "core/engine.h"
#include "server/store/store.h"

struct export_figures {
    bool is_imported; /* the features and activations are imported lines */
    int64_t features, activations, explanations;
};

/* engine: for the texts of tokens; NULL names them "<id:17>". The folder must be new or empty.
 * STATUS_NOT_FOUND if nothing is known of the source. */
int export_lines(struct store *store, const struct engine *engine, const char *model,
                 const char *source, const char *folder, struct export_figures *figures,
                 struct status *st);

#endif
