/* Which sources go over a corpus together: the statistics of a layer's neurons stay in memory until
 * the end of a reading, so layers of neurons take turns where they do not fit. */
#include "core/base/machine.h"
#include "core/base/memory.h"
#include "server/work/indexer_private.h"
#include "server/work/neuron_index.h"

#include <string.h>

/* Statistics, and the rows of the batches that are under way. */
static uint64_t neuron_bytes(const struct indexer *ix, const struct sae_source *source)
{
    size_t batch = ix->batch_tokens ? ix->batch_tokens : INDEXER_BATCH;
    return neuron_index_bytes(source) +
           (uint64_t)INDEXER_IN_FLIGHT * batch * source->d_sae * sizeof(float);
}

/* of [n_names]: the reading of each source, from 0; SAEs keep nothing and go with the first.
 * Returns how many there are. */
static size_t plan(const struct indexer *ix, size_t *of)
{
    const struct catalogue *c = engine_catalogue(ix->engine);
    uint64_t budget = ix->neuron_memory ? ix->neuron_memory : machine_memory() / 4;
    uint64_t used = 0;
    size_t reading = 0;
    for (size_t i = 0; i < ix->n_names; i++) {
        const struct sae_source *source = catalogue_find(c, ix->names[i]);
        of[i] = 0;
        if (!source || sources_keeps(ix->sources, ix->names[i])) {
            continue; /* a name that there is not is refused by the first reading */
        }
        uint64_t bytes = neuron_bytes(ix, source);
        bool fits = bytes <= budget && used <= budget - bytes;
        if (used && !fits) {
            reading++;
            used = 0;
        }
        used += bytes;
        of[i] = reading;
    }
    return reading + 1;
}

static int check_input(const struct corpus_options *options, size_t readings, struct status *st)
{
    if (readings == 1 || !options->path || strcmp(options->path, "-") != 0) {
        return STATUS_OK;
    }
    return status_set(st, STATUS_INVALID,
                      "these layers of neurons need %zu readings of the corpus, and the standard "
                      "input can be read once: give a file, or fewer layers at a time",
                      readings);
}

int indexer_read(const struct indexer *ix, const struct corpus_options *options, const char *name,
                 struct corpus_figures *figures, struct status *st)
{
    size_t *of = memory_alloc(ix->n_names, sizeof *of);
    const char **names = memory_alloc(ix->n_names, sizeof *names);
    *figures = (struct corpus_figures){0};
    size_t readings = of && names ? plan(ix, of) : 0;
    int code = readings ? check_input(options, readings, st)
                        : status_no_memory(st, ix->n_names * sizeof *names);
    for (size_t reading = 0; reading < readings && !code; reading++) {
        struct indexer some = *ix;
        some.names = names;
        some.n_names = 0;
        for (size_t i = 0; i < ix->n_names; i++) {
            if (of[i] == reading) {
                names[some.n_names++] = ix->names[i];
            }
        }
        code = indexer_read_once(&some, options, name, reading + 1, readings, figures, st);
    }
    memory_free(of);
    memory_free(names);
    return code;
}
