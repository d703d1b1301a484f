/* A model with a chat template, for the tests of routes that take conversations. */
#ifndef DM_TESTS_CHAT_H
#define DM_TESTS_CHAT_H

#include "tests/scratch.h"
#include "tests/v1.h"

#include <limits.h>

/* The demo with a chat template in its tokenizer_config.json: what tells a tuned model. */
static inline bool chat_open(struct v1 *v, struct scratch *s)
{
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "darkmatter.json", "saes"};
    char demo[PATH_MAX];
    scratch_open(s);
    if (!realpath(V1_DEMO, demo)) {
        return false;
    }
    for (size_t i = 0; i < TEST_COUNT(files); i++) {
        char target[PATH_MAX + 32];
        (void)snprintf(target, sizeof target, "%s/%s", demo, files[i]);
        scratch_link(s, files[i], target);
    }
    scratch_text(s, "tokenizer_config.json", "{\"chat_template\":\"{{ bos_token }}\"}");
    return v1_open(v, s->root);
}

#endif
