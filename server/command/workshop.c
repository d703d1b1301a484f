#include "server/command/workshop.h"

#include "core/base/memory.h"
#include "server/command/command.h"
#include "server/work/indexer.h"

enum { QUEUE_TOKENS = 1 << 16 };

static int choose_sources(struct workshop *workshop, const struct options *o, struct status *st)
{
    const struct catalogue *c = engine_catalogue(workshop->engine);
    size_t n = o->n_sources ? o->n_sources : c->n_sources;
    if (n == 0) {
        return status_set(st, STATUS_NOT_FOUND, "no SAE to run: give --saes FOLDER");
    }
    workshop->names = memory_alloc(n, sizeof *workshop->names);
    if (!workshop->names) {
        return status_no_memory(st, n * sizeof *workshop->names);
    }
    for (size_t i = 0; i < n; i++) {
        const struct sae_source *source =
            o->n_sources ? catalogue_find(c, o->sources[i]) : &c->sources[i];
        bool again = false;
        if (!source) {
            return status_set(st, STATUS_NOT_FOUND,
                              "--source %s: there is no such SAE among the %zu that were found",
                              o->sources[i], c->n_sources);
        }
        for (size_t j = 0; j < workshop->n_names; j++) {
            again = again || workshop->names[j] == source->name;
        }
        if (!again) {
            workshop->names[workshop->n_names++] = source->name;
        }
    }
    return STATUS_OK;
}

int workshop_open(struct workshop *workshop, const struct options *o, struct status *st)
{
    struct engine_options options = options_engine(o);
    struct text migrations = {0};
    options.notice = command_notice;
    text_printf(&migrations, "%s/migrations", o->share);
    int code =
        migrations.failed ? status_no_memory(st, 64) : engine_open(&workshop->engine, &options, st);
    (void)(code || (code = choose_sources(workshop, o, st)) ||
           (code = store_open(&workshop->store, o->db, migrations.data, st)) ||
           (code = sources_create(&workshop->sources, workshop->engine, workshop->store, st)) ||
           (code = queue_create(&workshop->queue, QUEUE_TOKENS, st)) ||
           (code = worker_start(&workshop->worker, workshop->engine, workshop->store,
                                workshop->sources, workshop->queue, INDEXER_BATCH, st)));
    text_free(&migrations);
    return code;
}

void workshop_close(struct workshop *workshop)
{
    if (workshop->queue) {
        queue_stop(workshop->queue);
    }
    worker_join(workshop->worker);
    if (workshop->queue) {
        queue_destroy(workshop->queue);
    }
    if (workshop->sources) {
        sources_destroy(workshop->sources);
    }
    store_close(workshop->store);
    engine_close(workshop->engine);
    memory_free(workshop->names);
}
