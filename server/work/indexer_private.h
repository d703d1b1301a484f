/* What the files of the indexer share. */
#ifndef DM_WORK_INDEXER_PRIVATE_H
#define DM_WORK_INDEXER_PRIVATE_H

#include "server/work/indexer.h"

enum { INDEXER_IN_FLIGHT = 2 /* batches */ };

/* indexer.c: one reading of the corpus, all sources of ix in it. */
int indexer_read_once(const struct indexer *ix, const struct corpus_options *options,
                      const char *name, size_t reading, size_t readings,
                      struct corpus_figures *figures, struct status *st);

#endif
