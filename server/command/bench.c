/* darkmatter bench: how fast a model runs here, each figure beside the limit that the machine sets
 * it. The first Ctrl-C ends it at once, without a table. */
#include "server/command/bench.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/formats/model_folder.h"
#include "core/sae/sae.h"
#include "server/command/bench_machine.h"
#include "server/command/bench_peaks.h"
#include "server/command/command.h"
#include "server/command/progress.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_bool stopping;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stopping, true);
}

/* --- what the others ask ---------------------------------------------------------------------- */

const struct engine *bench_engine(const struct bench *b)
{
    const struct engine *exact = b->models[PRECISION_EXACT].shop.engine;
    return exact ? exact : b->models[PRECISION_BF16].shop.engine;
}

struct bench_row *bench_row(struct bench *b, const char *name, int precision)
{
    for (size_t i = 0; i < b->n_rows; i++) {
        struct bench_row *row = &b->table[i];
        if (strcmp(row->name, name) == 0 && (precision < 0 || row->precision == precision)) {
            return row;
        }
    }
    return NULL;
}

void bench_put(struct bench *b, const char *name, double value, double ready)
{
    struct bench_row *row = bench_row(b, name, -1);
    if (row && !*row->skipped && row->n < BENCH_ROUNDS) {
        row->ready[row->n] = ready;
        row->value[row->n++] = value;
    }
}

int bench_text(struct bench *b, size_t n, int32_t **ids, struct status *st)
{
    const struct engine *engine = bench_engine(b);
    uint32_t vocabulary = (uint32_t)engine_config(engine)->vocab_size;
    int32_t bos = engine_bos(engine);
    *ids = memory_alloc(n, sizeof **ids);
    if (!*ids) {
        return status_no_memory(st, n * sizeof **ids);
    }
    for (size_t i = 0; i < n; i++) {
        b->seed = b->seed * 1664525u + 1013904223u;
        (*ids)[i] = (int32_t)((b->seed >> 8) % (vocabulary - vocabulary / 2) + vocabulary / 2);
    }
    if (bos >= 0 && n > 1) {
        (*ids)[0] = bos;
    }
    return STATUS_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* --source, else the first SAE of a residual stream, else the first. */
static int choose_source(struct bench *b, struct status *st)
{
    const struct catalogue *c = engine_catalogue(bench_engine(b));
    const struct options *o = b->options;
    if (o->n_sources) {
        b->source = catalogue_find(c, o->sources[0]);
        return b->source && !b->source->is_neurons
                   ? STATUS_OK
                   : status_set(st, STATUS_NOT_FOUND,
                                "--source %s: there is no such SAE among the %zu that were found",
                                o->sources[0], c->n_sources);
    }
    for (size_t i = 0; i < c->n_sources; i++) {
        const struct sae_source *s = &c->sources[i];
        if (!b->source || (b->source->input != POINT_RESID_POST && s->input == POINT_RESID_POST)) {
            b->source = s;
        }
    }
    return STATUS_OK;
}

/* A database of its own for each, because the index of one precision is not the other's. */
static int open_model(struct bench *b, enum precision precision, struct status *st)
{
    struct bench_model *model = &b->models[precision];
    struct options o = *b->options;
    char db[128];
    (void)snprintf(db, sizeof db, "%s/%s.db", b->folder, precision_name(precision));
    o.precision = precision;
    o.db = db;
    int code;
    if (o.n_saes) {
        code = workshop_open(&model->shop, &o, st);
    } else {
        struct engine_options options = options_engine(&o);
        options.notice = command_notice;
        code = engine_open(&model->shop.engine, &options, st);
    }
    return code ? code : session_create(&model->session, model->shop.engine, st);
}

/* How wide the stored numbers are, and whether all of them fit into a cache. */
static int weigh(struct bench *b, const struct bench_machine *machine, struct status *st)
{
    const struct gemma_config *c = engine_config(bench_engine(b));
    struct model_folder folder;
    int code = model_folder_open(&folder, b->options->model, b->options->model_id, st);
    if (code) {
        return code;
    }
    double table = (double)c->vocab_size * (double)c->hidden_size;
    double numbers =
        table * (c->tied_embeddings ? 1 : 2) + (double)c->n_layers * bench_layer_weights(c);
    b->weight_bytes = (double)folder.weight_bytes;
    b->number_bytes = b->weight_bytes > 3 * numbers ? 4 : 2;
    b->in_cache = b->weight_bytes < machine->cache_bytes;
    model_folder_close(&folder);
    return STATUS_OK;
}

static int open_all(struct bench *b, const struct bench_machine *machine, struct status *st)
{
    const char *temporary = getenv("TMPDIR");
    int n = snprintf(b->folder, sizeof b->folder, "%s/darkmatter-bench-XXXXXX",
                     temporary && *temporary ? temporary : "/tmp");
    if (n >= (int)sizeof b->folder || !mkdtemp(b->folder)) {
        b->folder[0] = '\0';
        return status_set(st, STATUS_IO,
                          "TMPDIR: expected a folder with a short name that can be written to");
    }
    int wanted = b->options->bench_precision; /* 0: both */
    for (int p = 0; p < BENCH_PRECISIONS; p++) {
        if ((wanted == 0 || wanted == p + 1) && open_model(b, (enum precision)p, st)) {
            return (int)st->code;
        }
    }
    int code = choose_source(b, st);
    (void)(code || (code = weigh(b, machine, st)) || (code = bench_peaks_open(b, st)));
    return code;
}

/* The folder holds files alone. */
static void remove_folder(const char *folder)
{
    DIR *files = *folder ? opendir(folder) : NULL;
    const struct dirent *entry;
    while (files && (entry = readdir(files)) != NULL) {
        (void)unlinkat(dirfd(files), entry->d_name, 0);
    }
    if (files) {
        (void)closedir(files);
        (void)rmdir(folder);
    }
}

static void close_all(struct bench *b)
{
    sae_close(b->sae);
    memory_free(b->rows);
    bench_peaks_close(b);
    for (int p = 0; p < BENCH_PRECISIONS; p++) {
        session_destroy(b->models[p].session);
        workshop_close(&b->models[p].shop);
    }
    remove_folder(b->folder);
}

/* --- choosing figures ------------------------------------------------------------------------- */

/* "prefill" takes all that begin with that word, "prefill 1" not "prefill 128". */
static bool is_named(const char *name, const char *word)
{
    size_t n = strlen(word);
    return strncmp(name, word, n) == 0 && (name[n] == '\0' || name[n] == ' ' || name[n] == ':');
}

static int check_words(const struct bench *b, struct status *st)
{
    for (size_t w = 0; w < b->options->n_paths; w++) {
        struct text names = {0};
        bool found = false;
        for (size_t i = 0; i < b->n_rows; i++) {
            found = found || is_named(b->table[i].name, b->options->paths[w]);
            if (i == 0 || strcmp(b->table[i].name, b->table[i - 1].name) != 0) {
                text_printf(&names, "%s%s", i ? ", " : "", b->table[i].name);
            }
        }
        if (!found) {
            (void)status_set(st, STATUS_INVALID,
                             "there is no figure \"%.100s\"; expected the beginning of one of: %s",
                             b->options->paths[w], names.data ? names.data : "");
        }
        text_free(&names);
        if (!found) {
            return (int)st->code;
        }
    }
    return STATUS_OK;
}

static int choose_rows(struct bench *b, struct status *st)
{
    const struct options *o = b->options;
    bench_work_rows(b);
    bench_server_rows(b);
    if (check_words(b, st)) {
        return (int)st->code;
    }
    size_t kept = 0;
    for (size_t i = 0; i < b->n_rows; i++) {
        bool wanted = o->n_paths == 0;
        for (size_t w = 0; w < o->n_paths; w++) {
            wanted = wanted || is_named(b->table[i].name, o->paths[w]);
        }
        if (wanted) {
            b->table[kept++] = b->table[i];
        }
    }
    b->n_rows = kept;
    return STATUS_OK;
}

/* --- rounds ----------------------------------------------------------------------------------- */

static void show(struct bench *b, struct progress *progress, size_t round, const char *what,
                 double share)
{
    char line[200], left[32];
    double passed = clock_seconds() - b->started;
    progress_time(left, share > 0.02 ? passed / share * (1 - share) : -1);
    (void)snprintf(line, sizeof line, "round %zu of %d: %s, %s left", round + 1, b->options->rounds,
                   what, left);
    progress_show(progress, share, line);
}

static bool is_work(const struct bench_row *row)
{
    return !*row->skipped && bench_is_work(row);
}

static int run_round(struct bench *b, struct progress *progress, size_t round, struct status *st)
{
    double all = (double)(b->n_rows + 1) * (double)b->options->rounds;
    double done = (double)(b->n_rows + 1) * (double)round;
    int code = STATUS_OK;
    for (size_t i = 0; i < b->n_rows && !code; i++, done++) {
        struct bench_row *row = &b->table[i];
        if (is_work(row)) {
            char what[64];
            (void)snprintf(what, sizeof what, "%s%s%s", row->name, row->precision < 0 ? "" : ", ",
                           row->precision < 0 ? ""
                                              : precision_name((enum precision)row->precision));
            show(b, progress, round, what, done / all);
            code = bench_work_run(b, row, st);
        }
    }
    show(b, progress, round, "a server", done / all);
    code = code ? code : bench_server_run(b, round, st);
    return code || !atomic_load(&stopping) ? code : status_set(st, STATUS_CANCELLED, "stopped");
}

static int run(struct bench *b, struct status *st)
{
    struct progress progress = progress_start();
    bool any = false;
    for (size_t i = 0; i < b->n_rows; i++) {
        any = any || is_work(&b->table[i]);
    }
    b->started = clock_seconds();
    show(b, &progress, 0, "reading the weights", 0);
    int code = any ? bench_work_warm(b, st) : STATUS_OK;
    b->started = clock_seconds();
    for (int i = 0; i < b->options->rounds && !code; i++) {
        code = run_round(b, &progress, (size_t)i, st);
    }
    progress_end(&progress);
    return code;
}

int command_bench(const struct options *o)
{
    struct bench_machine machine;
    char doubt[200];
    struct status st = {0};
    struct sigaction action = {.sa_handler = on_signal};
    struct bench *b = memory_zalloc(1, sizeof *b);
    if (!b) {
        (void)status_no_memory(&st, sizeof *b);
        return command_failed(&st);
    }
    *b = (struct bench){.options = o, .stop = &stopping, .seed = (uint32_t)getpid()};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    bench_machine_begin(&machine);
    if (*bench_machine_doubt(&machine, doubt)) {
        (void)fprintf(stderr, "warning: %s\n", doubt);
    }
    int code = open_all(b, &machine, &st);
    (void)(code || (code = choose_rows(b, &st)) || (code = run(b, &st)));
    bench_machine_end(&machine);
    if (!code && o->json) {
        bench_print_json(b, &machine);
    } else if (!code) {
        bench_print(b, &machine);
    }
    close_all(b);
    memory_free(b);
    return code ? command_failed(&st) : EXIT_OK;
}
