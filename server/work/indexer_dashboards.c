/* What an indexer does behind its corpora: the dashboards of its sources. */
#include "server/work/builder.h"
#include "server/work/index_turn.h"
#include "server/work/indexer.h"
#include "server/work/neuron_builder.h"

static void report_features(void *user, const char *source, size_t features, size_t of)
{
    const struct indexer *ix = user;
    const struct indexer_progress p = {.phase = "dashboards",
                                       .seconds_left = -1.0,
                                       .source = source,
                                       .features = features,
                                       .of_features = of};
    if (ix->progress) {
        ix->progress(ix->user, &p);
    }
}

int indexer_dashboards(const struct indexer *ix, struct status *st)
{
    const struct builder builder = {.engine = ix->engine,
                                    .store = ix->store,
                                    .sources = ix->sources,
                                    .memory = ix->memory,
                                    .seed = ix->seed,
                                    .abandon = ix->abandon,
                                    .progress = report_features,
                                    .user = (void *)(uintptr_t)ix};
    /* A first Ctrl-C asks for the dashboards of what is there, so only `abandon` ends the wait. */
    struct indexer patient = *ix;
    int turn;
    patient.cancel = NULL;
    int code = index_turn_take(&patient, &turn, st);
    if (code) {
        return code;
    }
    for (size_t s = 0; s < ix->n_names && !code; s++) {
        code = sources_keeps(ix->sources, ix->names[s])
                   ? builder_run(&builder, ix->names[s], st)
                   : neuron_builder_run(&builder, ix->names[s], st);
    }
    index_turn_end(turn);
    return code;
}
