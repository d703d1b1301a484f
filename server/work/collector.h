/* Writes the rows of chosen points over a corpus into safetensors files of about one size, for
 * training elsewhere: OUT/shard-00000.safetensors ... and OUT/index.json, which says what they
 * hold.
 *
 * A shard holds whole contexts in the order of the corpus, one row a token, <bos> too:
 *     documents  I64 [n]        the context's number, from 0
 *     tokens     I32 [n]
 *     positions  I32 [n]        in the context
 *     bos        U8  [n]        1: the row is <bos>
 *     resid_post.20 ...  [n, width] ([n, heads, K] for q, k, v), the rows that POST /v1/trace gives
 *
 * Shards are written one after the other, each under its name only when it is whole, then
 * index.json anew. Whatever ends a run, the same command goes on behind the last shard that
 * index.json lists, and comes to the same bytes. */
#ifndef DM_WORK_COLLECTOR_H
#define DM_WORK_COLLECTOR_H

#include "core/engine.h"
#include "core/formats/tensor.h"
#include "server/work/corpus.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define COLLECTOR_SHARD ((uint64_t)256 << 20)

struct collector_read {
    enum point point; /* one with a row for each token */
    int layer;
};

struct collector_progress {
    int64_t contexts, rows; /* in shards or about to be */
    size_t shards;
    int64_t tokens, total_tokens; /* counted, as corpus.h has them; total about, 0: unknown */
    double rows_per_second;       /* of this run; 0: unknown yet */
    double seconds_left;          /* below 0: unknown */
    bool was_complete;            /* there was nothing to do */
};

struct collector {
    struct engine *engine;
    const char *out;            /* the folder; made where it is missing */
    const char *const *corpora; /* [n_corpora] paths, one behind the other */
    size_t n_corpora;
    struct corpus_options corpus; /* how each is cut; its path is left out */
    const struct collector_read *reads;
    size_t n_reads;
    enum dtype dtype;          /* DTYPE_F32, DTYPE_BF16, DTYPE_F16 */
    uint64_t shard_bytes;      /* 0: COLLECTOR_SHARD; a longer context is a shard of its own */
    const atomic_bool *cancel; /* may be NULL */
    void (*progress)(void *user, const struct collector_progress *progress); /* may be NULL */
    void *user;
};

/* *progress is how it ended. STATUS_INVALID where OUT was begun with other settings or the corpus
 * has changed, STATUS_BUSY while another run writes there, STATUS_CANCELLED when stopped: the
 * shards that are whole are kept then, as after any other failure. */
int collector_run(const struct collector *collector, struct collector_progress *progress,
                  struct status *st);

#endif
