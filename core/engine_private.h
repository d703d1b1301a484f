/* What the engine_*.c files share. */
#ifndef DM_ENGINE_PRIVATE_H
#define DM_ENGINE_PRIVATE_H

#include "core/base/threads.h"
#include "core/engine.h"
#include "core/formats/model_folder.h"
#include "core/gemma/forward.h"
#include "core/gemma/tokenizer.h"
#include "core/gemma/weights.h"
#include "core/lens/tuned.h"
#include "core/sae/pool.h"

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
    atomic_uint_fast64_t tokens_computed;
    _Atomic(uint64_t *) words; /* bit per id: its text is a word; NULL until a lens asks */
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

/* Checks ids and edits; `more` says that a token is to be generated, which needs room. */
int engine_check_start(const struct engine *engine, const struct generation_start *start, bool more,
                       struct status *st);

#endif
