/* darkmatter collect: the rows of chosen points over corpora, as safetensors files for training
 * elsewhere. Ctrl-C stops at the next pass; the same command goes on behind the last whole file. */
#include "core/base/memory.h"
#include "server/command/command.h"
#include "server/command/corpus_flags.h"
#include "server/command/progress.h"
#include "server/v1/hooks.h"
#include "server/work/collector.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static atomic_bool stopping;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stopping, true);
}

struct reads {
    struct collector_read *list; /* [n] each once */
    size_t n;
};

static void show_progress(void *user, const struct collector_progress *p)
{
    char line[256], left[32];
    progress_time(left, p->seconds_left);
    (void)snprintf(
        line, sizeof line, "%lld of about %lld tokens, %zu files, %.0f tokens/s, %s left",
        (long long)p->tokens, (long long)p->total_tokens, p->shards, p->rows_per_second, left);
    progress_show(user, p->total_tokens ? (double)p->tokens / (double)p->total_tokens : 0.0, line);
}

static void add_read(struct reads *reads, enum point point, int layer)
{
    for (size_t i = 0; i < reads->n; i++) {
        if (reads->list[i].point == point && reads->list[i].layer == layer) {
            return;
        }
    }
    reads->list[reads->n++] = (struct collector_read){point, layer};
}

/* "resid_post.20", "blocks.20.hook_resid_post", "resid_post.*" */
static int parse_read(struct reads *reads, const struct gemma_config *config, const char *name,
                      struct status *st)
{
    enum point point;
    int layer;
    size_t length = strlen(name);
    struct status unused;
    if (length > 2 && strcmp(name + length - 2, ".*") == 0 &&
        point_find(name, length - 2, &point) && point_has_layer(point) && point != POINT_SCORES &&
        point != POINT_PATTERN) {
        for (layer = 0; (size_t)layer < config->n_layers; layer++) {
            add_read(reads, point, layer);
        }
        return STATUS_OK;
    }
    if (hooks_find(name, config, &point, &layer, &unused)) {
        return status_set(
            st, STATUS_INVALID,
            "--read %.120s: expected a point with a row for each token and one of the "
            "%zu layers: resid_post.0, mlp_out.*, blocks.0.hook_resid_post, embed",
            name, config->n_layers);
    }
    add_read(reads, point, layer);
    return STATUS_OK;
}

static int parse_reads(struct reads *reads, const struct engine *engine, const struct options *o,
                       struct status *st)
{
    const struct gemma_config *config = engine_config(engine);
    size_t most = o->n_reads * (config->n_layers + 1);
    int code = STATUS_OK;
    reads->list = memory_alloc(most, sizeof *reads->list);
    if (!reads->list) {
        return status_no_memory(st, most * sizeof *reads->list);
    }
    for (size_t i = 0; i < o->n_reads && !code; i++) {
        code = parse_read(reads, config, o->reads[i], st);
    }
    return code;
}

static int run(struct engine *engine, const struct options *o, struct status *st)
{
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
    struct reads reads = {0};
    struct progress bar = progress_start();
    struct collector_progress end = {0};
    int code = parse_reads(&reads, engine, o, st);
    if (!code) {
        const struct collector collector = {.engine = engine,
                                            .out = o->paths[0],
                                            .corpora = o->corpora,
                                            .n_corpora = o->n_corpora,
                                            .corpus = corpus_flags_options(o, NULL),
                                            .reads = reads.list,
                                            .n_reads = reads.n,
                                            .dtype = dtypes[o->dtype],
                                            .shard_bytes = o->shard_size,
                                            .cancel = &stopping,
                                            .progress = show_progress,
                                            .user = &bar};
        code = collector_run(&collector, &end, st);
        progress_end(&bar);
    }
    memory_free(reads.list);
    if (!code) {
        (void)printf("%s %s: %lld rows of %lld contexts in %zu files, %s\n",
                     end.was_complete ? "already collected" : "collected", engine_model_id(engine),
                     (long long)end.rows, (long long)end.contexts, end.shards, o->paths[0]);
    }
    return code;
}

int command_collect(const struct options *o)
{
    struct engine_options options = options_engine(o);
    struct engine *engine;
    struct status st = {0};
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    options.n_sae_folders = 0; /* nothing of them is read */
    options.notice = command_notice;
    int code = engine_open(&engine, &options, &st);
    if (code) {
        return command_failed(&st);
    }
    code = run(engine, o, &st);
    engine_close(engine);
    if (code == STATUS_CANCELLED) {
        (void)fprintf(stderr, "stopped; whole files are kept: the same command goes on\n");
        return EXIT_FAILED;
    }
    return code ? command_failed(&st) : EXIT_OK;
}
