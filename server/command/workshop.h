/* What a command needs to run sources over corpora: the model, the database, the queue and its
 * worker, and which sources were asked for. */
#ifndef DM_COMMAND_WORKSHOP_H
#define DM_COMMAND_WORKSHOP_H

#include "server/command/options.h"
#include "server/work/worker.h"

struct workshop {
    struct engine *engine;
    struct store *store;
    struct sources *sources;
    struct queue *queue;
    struct worker *worker;
    const char **names; /* [n_names] those of --source, or all SAEs */
    size_t n_names;
};

/* Close it also when it failed. */
int workshop_open(struct workshop *workshop, const struct options *options, struct status *st);
void workshop_close(struct workshop *workshop);

#endif
