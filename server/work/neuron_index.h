/* One source of neurons during a run over a corpus: counts document after document, and commits
 * what was counted together with how far it goes.
 *
 * A commit writes every neuron's statistic, so there are few: one when a run ends, and others so
 * far apart that they take a twentieth of the time. A process that is killed loses what came behind
 * the last one, and the next run counts that again. */
#ifndef DM_WORK_NEURON_INDEX_H
#define DM_WORK_NEURON_INDEX_H

#include "core/engine.h"
#include "server/store/documents.h"
#include "server/store/store.h"
#include "server/work/queue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct neuron_index;

/* Bytes that one of the source takes until it ends. */
uint64_t neuron_index_bytes(const struct sae_source *source);

/* Loads what is there. source: neurons; row and corpus: the database's. */
int neuron_index_open(struct neuron_index **out, const struct engine *engine, struct store *store,
                      const struct sae_source *source, int64_t row, int64_t corpus,
                      struct status *st);

/* What has to be read of each document. */
struct engine_read neuron_index_read(const struct neuron_index *index);

/* The documents first .. first+n-1 of the corpus, each of which has a prompt of the job, with the
 * index's read among those that were made; then commits, if it is time. Documents behind the mark
 * are left out. */
int neuron_index_add(struct neuron_index *index, int64_t first,
                     const struct store_document *documents, size_t n, const struct job *job,
                     struct status *st);

/* Commits the rest and closes: what was counted is sound, whatever ended the run. list [n], from
 * core/base/memory.h, NULL where a source is none of neurons; freed; may be NULL. code: how the run
 * went, which comes back unless it went well or was cancelled and the commit failed. */
int neuron_index_end(struct neuron_index **list, size_t n, int code, struct status *st);

#endif
