#include "server/work/sources.h"

#include "core/base/memory.h"

#include <pthread.h>

struct sources {
    struct engine *engine;
    struct store *store;
    int64_t model;
    pthread_mutex_t lock;
    int64_t *rows; /* [sources of the catalogue, by catalogue_number]; 0: not looked up yet
                      (SQLite's start at 1) */
};

int sources_create(struct sources **sources, struct engine *engine, struct store *store,
                   struct status *st)
{
    struct sources *s = memory_zalloc(1, sizeof *s);
    *sources = NULL;
    if (!s) {
        return status_no_memory(st, sizeof *s);
    }
    s->engine = engine;
    s->store = store;
    const struct catalogue *catalogue = engine_catalogue(engine);
    size_t n = catalogue->n_sources + catalogue->n_neurons;
    s->rows = memory_zalloc(n, sizeof *s->rows);
    int code = s->rows ? STATUS_OK : status_no_memory(st, n * sizeof *s->rows);
    if (!code) {
        code = store_model(store, engine_model_id(engine), engine_model_identity(engine), &s->model,
                           st);
    }
    if (code) {
        memory_free(s->rows);
        memory_free(s);
        return code;
    }
    pthread_mutex_init(&s->lock, NULL);
    *sources = s;
    return STATUS_OK;
}

void sources_destroy(struct sources *sources)
{
    if (sources) {
        pthread_mutex_destroy(&sources->lock);
        memory_free(sources->rows);
        memory_free(sources);
    }
}

bool sources_keeps(const struct sources *sources, const char *name)
{
    const struct sae_source *s = catalogue_find(engine_catalogue(sources->engine), name);
    return s && !s->is_neurons;
}

int64_t sources_model(const struct sources *sources)
{
    return sources->model;
}

/* Reads samples of the SAE's tensors, so it runs without the lock; two threads that do it at once
 * get the same row. */
static int look_up(struct sources *sources, const struct sae_source *source, int64_t *row,
                   struct status *st)
{
    struct store_source wanted = {.name = source->name,
                                  .layer = source->layer,
                                  .point = point_name(source->input),
                                  .d_in = source->d_in,
                                  .d_sae = source->d_sae};
    int code = engine_source_identity(sources->engine, source->name, &wanted.identity, st);
    return code ? code : store_source(sources->store, sources->model, &wanted, row, st);
}

int sources_row(struct sources *sources, const char *name, int64_t *row, struct status *st)
{
    const struct catalogue *catalogue = engine_catalogue(sources->engine);
    const struct sae_source *source = catalogue_find(catalogue, name);
    if (!source) {
        return status_set(st, STATUS_NOT_FOUND, "there is no source \"%.120s\"", name);
    }
    size_t i = catalogue_number(catalogue, source);
    pthread_mutex_lock(&sources->lock);
    *row = sources->rows[i];
    pthread_mutex_unlock(&sources->lock);
    if (*row) {
        return STATUS_OK;
    }
    int code = look_up(sources, source, row, st);
    if (!code) {
        pthread_mutex_lock(&sources->lock);
        sources->rows[i] = *row;
        pthread_mutex_unlock(&sources->lock);
    }
    return code;
}
