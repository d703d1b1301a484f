/* What engine.c and engine_trace.c share. */
#ifndef DM_ENGINE_PRIVATE_H
#define DM_ENGINE_PRIVATE_H

#include "core/base/threads.h"
#include "core/engine.h"
#include "core/formats/model_folder.h"
#include "core/gemma/forward.h"
#include "core/gemma/tokenizer.h"
#include "core/gemma/weights.h"
#include "core/sae/pool.h"

struct engine {
    struct model_folder folder;
    struct gemma_config config;
    struct weights weights;
    struct tokenizer *tokenizer; /* NULL for a folder without tokenizer files */
    struct catalogue catalogue;
    struct pool *pool;
    struct threads *threads;
    bool has_chat_template;
    struct hash identity;
    atomic_uint_fast64_t tokens_computed;
};

struct session {
    struct engine *engine;
    struct forward *forward;
};

/* Checks the prompt's ids and reads, and gives every read its shape and its zeroed memory. */
int engine_prepare_prompt(const struct engine *engine, struct engine_prompt *prompt,
                          struct status *st);

#endif
