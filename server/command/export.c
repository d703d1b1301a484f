/* darkmatter export: one source in the layout of Neuronpedia's export files. */
#include "server/command/command.h"
#include "server/work/export_lines.h"

#include <inttypes.h>
#include <stdio.h>

static int open_all(const struct options *options, struct engine **engine, struct store **store,
                    struct status *st)
{
    int code = STATUS_OK;
    if (options->model) {
        struct engine_options o = options_engine(options);
        o.tokenizer_only = true;
        o.notice = command_notice;
        code = engine_open(engine, &o, st);
    }
    struct text migrations = {0};
    text_printf(&migrations, "%s/migrations", options->share);
    if (!code) {
        code = migrations.failed ? status_no_memory(st, 16)
                                 : store_open(store, options->db, migrations.data, st);
    }
    text_free(&migrations);
    return code;
}

int command_export(const struct options *options)
{
    struct status st = {0};
    struct engine *engine = NULL;
    struct store *store = NULL;
    struct export_figures figures;
    int code = open_all(options, &engine, &store, &st);
    if (code == STATUS_OK) {
        const char *model = engine ? engine_model_id(engine) : options->model_id;
        const struct engine *texts = engine && engine_has_tokenizer(engine) ? engine : NULL;
        code = export_lines(store, texts, model, options->sources[0], options->paths[0], &figures,
                            &st);
    }
    store_close(store);
    engine_close(engine);
    if (code != STATUS_OK) {
        return command_failed(&st);
    }
    (void)printf("%" PRId64 " features, %" PRId64 " activations%s, %" PRId64
                 " explanations written to %s\n",
                 figures.features, figures.activations,
                 figures.is_imported ? " (imported ones, as they came)" : "", figures.explanations,
                 options->paths[0]);
    return EXIT_OK;
}
