/* Gemma 2 and Gemma 3 (text): the forward pass over a packed batch of sequences. */
#ifndef DM_GEMMA_FORWARD_H
#define DM_GEMMA_FORWARD_H

#include "core/base/status.h"
#include "core/base/threads.h"
#include "core/gemma/kv_cache.h"
#include "core/gemma/taps.h"
#include "core/gemma/weights.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* One sequence of a run. Without a cache its first token stands at position 0; with one, the tokens
 * follow those that the cache holds, and are added to it.
 *
 * A sequence with a fork_layer is a second life of an earlier one (the same ids, no cache): it
 * begins there, with the rows that sequence fork_of has at that point, so that what a hook changes
 * in a late layer does not cost the layers below. Sequences stand in the order of their
 * fork_layers; neither hooks nor taps see a fork below its layer. */
struct sequence {
    const int32_t *ids; /* [n], each in 0..V-1 */
    size_t n;           /* >= 1 */
    struct kv_cache *cache;
    size_t fork_layer; /* 0: from the embedding on */
    size_t fork_of;    /* a sequence that is there already */
};

/* A look at, and a hand on, the rows that flow through the pass: called for every sequence at every
 * point except scores, pattern, logits and loss, before the taps copy it. What it leaves in `rows`
 * [n, width] is what the rest of the model reads. Row r stands at position past + r. */
struct forward_hook {
    void (*visit)(void *user, enum point point, int layer, size_t sequence, float *rows, size_t n,
                  size_t width, size_t past);
    void *user;
};

/* The wave of activations: scratch for one run at a time, grown to the largest batch seen. */
struct forward;

int forward_create(struct forward **out, const struct weights *weights, struct threads *threads,
                   struct status *st);

/* Runs the sequences together, as deep as the deepest tap, and fills the taps. hook
 * may be NULL. A sequence that would not fit its cache is STATUS_INVALID; *cancel (may be NULL) is
 * looked at between layers. */
int forward_run(struct forward *forward, const struct sequence *sequences, size_t n_sequences,
                const struct taps *taps, const struct forward_hook *hook, const atomic_bool *cancel,
                struct status *st);

void forward_destroy(struct forward *forward); /* NULL is fine */

#endif
