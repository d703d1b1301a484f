/* What the engine_*.c files share. */
#ifndef DM_ENGINE_PRIVATE_H
#define DM_ENGINE_PRIVATE_H

#include "core/base/threads.h"
#include "core/engine.h"
#include "core/formats/model_folder.h"
#include "core/gemma/forward.h"
#include "core/gemma/pass.h"
#include "core/gemma/tokenizer.h"
#include "core/gemma/weights.h"
#include "core/lens/tuned.h"
#include "core/sae/pool.h"

#include <pthread.h>

struct engine {
    struct model_folder folder;
    struct gemma_config config;
    struct weights weights;
    struct tokenizer *tokenizer; /* NULL for a folder without tokenizer files */
    struct catalogue catalogue;
    struct pool *pool;
    struct threads *threads;
    struct tuned **tuned; /* [n_tuned] */
    size_t n_tuned;
    bool has_chat_template;
    struct hash identity;
    atomic_uint_fast64_t tokens_computed, passes_computed;
    struct {
        pthread_t thread;
        bool runs;
        atomic_bool stop;
    } read_ahead;
    struct kv_prefixes *prefixes; /* NULL: nothing is kept for the next text */
    _Atomic(uint64_t *) words;    /* bit per id: its text is a word; NULL until a lens asks */
};

struct session {
    struct engine *engine;
    struct forward *forward;
};

/* Checks the prompt's ids and reads, and gives every read its shape and its zeroed memory. */
int engine_prepare_prompt(const struct engine *engine, struct engine_prompt *prompt,
                          struct status *st);

/* The decoder of a source, an SAE's or the neurons'. */
struct decoder {
    struct engine *engine;
    const struct sae_source *source;
    struct sae *sae; /* NULL: neurons */
};

int engine_decoder_open(struct decoder *d, struct engine *e, const char *name, struct status *st);
/* After a successful open; code and what is returned as with pool_release, of the weights as well.
 */
int engine_decoder_close(struct decoder *d, int code, struct status *st);

/* Row j < d_sae -> out [d_out]. */
int engine_decoder_row(const struct decoder *d, size_t j, float *out, struct status *st);

/* The two halves of a task (engine.h). prepare says in *part what the pass is to do, which stays
 * the task's own until finish or drop; after an error there is neither. finish makes something of
 * the rows; drop ends what was prepared where the pass has failed. */
int trace_prepare(struct engine *engine, struct engine_task *task, struct pass_part *part,
                  struct status *st);
int trace_finish(struct engine_task *task, struct status *st);
void trace_drop(struct engine_task *task);

int attribution_prepare(struct engine *engine, struct attribution *a, struct pass_part *part,
                        struct status *st);
int attribution_finish(struct engine *engine, struct attribution *a, struct status *st);
void attribution_drop(struct attribution *a);

int dark_reading_prepare(struct dark_reading *reading, struct pass_part *part, struct status *st);
int dark_reading_finish(struct dark_reading *reading, bool *more, struct status *st);

int lens_reading_prepare(struct lens_reading *reading, struct pass_part *part, struct status *st);
int lens_reading_finish(struct lens_reading *reading, bool *more, struct status *st);
void lens_reading_drop(struct lens_reading *reading);

int generation_prepare(struct generation *generation, struct pass_part *part, struct status *st);
int generation_finish(struct generation *generation, bool *more, struct status *st);
void generation_drop(struct generation *generation);

/* Rows of the next step's pass. */
size_t dark_reading_rows(const struct dark_reading *reading);
size_t lens_reading_rows(const struct lens_reading *reading);
size_t generation_rows(const struct generation *generation);

/* Whether weights of so many bytes can stay in memory once they have been read: three quarters of
 * what this process may have (0: unknown), and what is free now (kilobytes, -1: unknown). */
bool engine_weights_fit(uint64_t weight_bytes, uint64_t memory, int64_t available);

/* Ends engine_read_ahead, if it runs. */
void engine_stop_read_ahead(struct engine *engine);

/* Fills the empty cache of a text with what is known of its beginning; at least one token is left
 * to be read. */
void engine_find_prefix(struct engine *engine, const struct generation_start *start,
                        struct kv_cache *cache);

/* Takes the cache of ids [cache->length], which go on where `start` ends. */
void engine_keep_prefix(struct engine *engine, const struct generation_start *start,
                        const int32_t *ids, struct kv_cache *cache);

/* Checks ids and edits; `more` says that a token is to be generated, which needs room. */
int engine_check_start(const struct engine *engine, const struct generation_start *start, bool more,
                       struct status *st);

#endif
