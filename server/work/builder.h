/* Makes a source's dashboard from its activations in the database and puts it there, in place of
 * the old one (core/dashboard counts; server/store keeps).
 *
 * Features are done in chunks whose accumulators fit `memory`; each chunk reads the activations
 * twice, and the texts of its examples once more. Results wait in a temporary file. */
#ifndef DM_WORK_BUILDER_H
#define DM_WORK_BUILDER_H

#include "core/engine.h"
#include "server/store/store.h"
#include "server/work/sources.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define BUILDER_MEMORY ((uint64_t)256 << 20)

struct builder {
    struct engine *engine;
    struct store *store;
    struct sources *sources;
    uint64_t memory;            /* bytes; 0: BUILDER_MEMORY */
    int64_t seed;               /* of the sampled examples */
    const atomic_bool *abandon; /* looked at throughout; may be NULL */
    void (*progress)(void *user, const char *source, size_t features, size_t of); /* may be NULL */
    void *user;
};

/* STATUS_CANCELLED when abandoned; the old dashboard then stays. A source that was run over nothing
 * is left alone. */
int builder_run(const struct builder *builder, const char *name, struct status *st);

#endif
