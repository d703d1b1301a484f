/* The folder that holds static/, migrations/ and demo/, and the demo that every command runs on
 * when it is told nothing else. */
#ifndef DM_COMMAND_SHARE_H
#define DM_COMMAND_SHARE_H

#include "server/command/options.h"

/* Fills in options->share: --share, else a place beside the program. */
int share_find(struct options *options, struct status *st);

/* Without --model and --saes: the demo's. */
int share_use_demo(struct options *options, struct status *st);

/* Without --corpus: the demo's, on the demo only. */
int share_use_demo_corpus(struct options *options, struct status *st);

#endif
