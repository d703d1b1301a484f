/* darkmatter index: runs SAEs over corpora and makes dashboards, with a bar on a terminal and a
 * line every few seconds elsewhere. The first Ctrl-C stops at the next batch and makes dashboards
 * of what is there, the second one leaves at once; either way the next run goes on where this one
 * was. */
#include "core/base/memory.h"
#include "server/command/command.h"
#include "server/http/emit.h"
#include "server/store/documents.h"
#include "server/work/index_progress.h"
#include "server/work/indexer.h"
#include "server/work/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE_TOKENS = 1 << 16, BAR = 24 };
#define LINE_SECONDS 3.0 /* between plain lines and rows of the job table */
#define BAR_SECONDS 0.1

static atomic_bool stopping, leaving;

static void on_signal(int number)
{
    if (number == SIGTERM || atomic_exchange(&stopping, true)) {
        atomic_store(&leaving, true);
    }
    atomic_store(&stopping, true);
}

struct indexing {
    struct engine *engine;
    struct store *store;
    struct sources *sources;
    struct queue *queue;
    struct worker *worker;
    const char **names; /* of the sources */
    size_t n_names;
    int64_t job;
    bool bar;           /* stderr is a terminal */
    double shown, kept; /* when progress was last shown, last written to the job table */
    struct indexer_progress last;
};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- progress --------------------------------------------------------------------------------- */

static void print_time(char out[32], double seconds)
{
    long long s = seconds < 1e9 ? (long long)seconds : 0;
    if (seconds < 0.0) {
        (void)snprintf(out, 32, "?");
    } else if (s < 3600) {
        (void)snprintf(out, 32, "%lld:%02lld", s / 60, s % 60);
    } else {
        (void)snprintf(out, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    }
}

static void print_progress(const struct indexing *x, const struct indexer_progress *p)
{
    char line[256], left[32], bar[BAR + 1];
    double share = 0.0;
    if (strcmp(p->phase, "waiting") == 0) {
        (void)snprintf(line, sizeof line,
                       "waiting for process %lld, which indexes into this database",
                       (long long)p->waiting_for);
    } else if (p->source) {
        share = p->of_features ? (double)p->features / (double)p->of_features : 1.0;
        (void)snprintf(line, sizeof line, "dashboard of %s: %zu of %zu features", p->source,
                       p->features, p->of_features);
    } else {
        share = p->total_tokens ? (double)p->tokens / (double)p->total_tokens : 0.0;
        print_time(left, p->seconds_left);
        (void)snprintf(line, sizeof line, "%lld of about %lld tokens, %.0f tokens/s, %s left",
                       (long long)p->tokens, (long long)p->total_tokens, p->tokens_per_second,
                       left);
    }
    if (!x->bar) {
        (void)fprintf(stderr, "%s\n", line);
        return;
    }
    size_t full = share >= 1.0 ? BAR : (size_t)(share * BAR);
    memset(bar, '.', BAR);
    memset(bar, '#', full);
    bar[BAR] = '\0';
    (void)fprintf(stderr, "\r\033[K[%s] %s", bar, line);
    (void)fflush(stderr);
}

static void keep_progress(struct indexing *x, const char *state, const char *error)
{
    struct text json = {0};
    struct status st = {0};
    index_progress_json(&x->last, &json);
    if (!json.failed) { /* a row that lags behind is no reason to stop */
        (void)store_job_update(x->store, x->job, state, json.data, error, &st);
    }
    text_free(&json);
}

static void show_progress(void *user, const struct indexer_progress *p)
{
    struct indexing *x = user;
    double t = now();
    if (!p->source && strcmp(p->phase, "waiting") != 0) {
        x->last = *p;
    }
    if (t - x->shown >= (x->bar ? BAR_SECONDS : LINE_SECONDS)) {
        x->shown = t;
        print_progress(x, p);
    }
    if (t - x->kept >= LINE_SECONDS) {
        x->kept = t;
        keep_progress(x, "running", NULL);
    }
}

static void end_bar(const struct indexing *x)
{
    if (x->bar) {
        (void)fputs("\r\033[K", stderr);
    }
}

/* --- opening and closing ---------------------------------------------------------------------- */

static int choose_sources(struct indexing *x, const struct options *o, struct status *st)
{
    const struct catalogue *c = engine_catalogue(x->engine);
    size_t n = o->n_sources ? o->n_sources : c->n_sources;
    if (n == 0) {
        return status_set(st, STATUS_NOT_FOUND, "no SAE to run: give --saes FOLDER");
    }
    x->names = memory_alloc(n, sizeof *x->names);
    if (!x->names) {
        return status_no_memory(st, n * sizeof *x->names);
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
        for (size_t j = 0; j < x->n_names; j++) {
            again = again || x->names[j] == source->name;
        }
        if (!again) {
            x->names[x->n_names++] = source->name;
        }
    }
    return STATUS_OK;
}

static int open_all(struct indexing *x, const struct options *o, struct status *st)
{
    struct engine_options options = options_engine(o);
    struct text migrations = {0};
    options.notice = command_notice;
    text_printf(&migrations, "%s/migrations", o->share);
    int code = migrations.failed ? status_no_memory(st, 64) : engine_open(&x->engine, &options, st);
    (void)(code || (code = choose_sources(x, o, st)) ||
           (code = store_open(&x->store, o->db, migrations.data, st)) ||
           (code = sources_create(&x->sources, x->engine, x->store, st)) ||
           (code = queue_create(&x->queue, QUEUE_TOKENS, st)) ||
           (code = worker_start(&x->worker, x->engine, x->store, x->sources, x->queue,
                                INDEXER_BATCH, st)));
    text_free(&migrations);
    return code;
}

static void close_all(struct indexing *x)
{
    if (x->queue) {
        queue_stop(x->queue);
    }
    worker_join(x->worker);
    if (x->queue) {
        queue_destroy(x->queue);
    }
    if (x->sources) {
        sources_destroy(x->sources);
    }
    store_close(x->store);
    engine_close(x->engine);
    memory_free(x->names);
}

static int start_job(struct indexing *x, const struct options *o, struct status *st)
{
    struct text request = {0};
    struct emitter w = {.out = &request};
    emit_object(&w);
    emit_key(&w, "command");
    emit_string(&w, "index");
    emit_key(&w, "corpora");
    emit_array(&w);
    for (size_t i = 0; i < o->n_corpora; i++) {
        struct text name = {0};
        corpus_name(o->corpora[i], &name);
        emit_string(&w, o->name ? o->name : name.data ? name.data : "");
        text_free(&name);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    int code = request.failed ? status_no_memory(st, 256)
                              : store_job_start(x->store, "index", request.data, &x->job, st);
    text_free(&request);
    return code;
}

/* --- the run ---------------------------------------------------------------------------------- */

static int read_corpus(const struct indexer *ix, const struct options *o, const char *path,
                       struct status *st)
{
    const struct corpus_options options = {.path = path,
                                           .context = (size_t)o->context,
                                           .whole_documents = o->no_pack,
                                           .keep_duplicates = o->keep_duplicates,
                                           .limit_tokens = (int64_t)o->limit_tokens,
                                           .notice = command_notice};
    struct text name = {0};
    struct corpus_figures f = {0};
    if (o->name) {
        text_string(&name, o->name);
    } else {
        corpus_name(path, &name);
    }
    int code =
        name.failed ? status_no_memory(st, 64) : indexer_read(ix, &options, name.data, &f, st);
    end_bar(ix->user);
    if (f.lines) {
        (void)fprintf(stderr,
                      "%s: %lld lines (%lld repeated, %lld left out), %lld contexts, %lld tokens\n",
                      name.data, (long long)f.lines, (long long)f.duplicates, (long long)f.wrong,
                      (long long)f.contexts, (long long)f.tokens);
    }
    text_free(&name);
    return code;
}

static int run(struct indexing *x, const struct options *o, struct status *st)
{
    const struct indexer ix = {.engine = x->engine,
                               .store = x->store,
                               .sources = x->sources,
                               .queue = x->queue,
                               .names = x->names,
                               .n_names = x->n_names,
                               .seed = o->seed,
                               .cancel = &stopping,
                               .abandon = &leaving,
                               .progress = show_progress,
                               .user = x};
    int code = STATUS_OK;
    for (size_t i = 0; i < o->n_corpora && !code; i++) {
        code = read_corpus(&ix, o, o->corpora[i], st);
    }
    struct status own = {0};
    int late = atomic_load(&leaving) ? STATUS_OK : indexer_dashboards(&ix, &own);
    end_bar(x);
    if (!code && late) {
        *st = own;
    }
    return code ? code : late;
}

int command_index(const struct options *o)
{
    struct indexing x = {.bar = isatty(STDERR_FILENO) != 0};
    struct status st = {0};
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    int code = open_all(&x, o, &st);
    code = code ? code : start_job(&x, o, &st);
    if (!code) {
        code = run(&x, o, &st);
        keep_progress(&x,
                      !code                      ? "done"
                      : code == STATUS_CANCELLED ? "cancelled"
                                                 : "failed",
                      code ? st.message : NULL);
    }
    if (!code) {
        (void)printf("indexed %s: %zu sources, %lld tokens, database %s\n",
                     engine_model_id(x.engine), x.n_names, (long long)x.last.tokens, o->db);
    }
    close_all(&x);
    if (code == STATUS_CANCELLED) {
        (void)fprintf(stderr, "stopped; what was computed is kept: the same command goes on\n");
        return EXIT_FAILED;
    }
    return code ? command_failed(&st) : EXIT_OK;
}
