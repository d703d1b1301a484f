/* darkmatter index: runs SAEs over corpora and makes dashboards, with a bar on a terminal and a
 * line every few seconds elsewhere. The first Ctrl-C stops at the next batch and makes dashboards
 * of what is there, the second one leaves at once; either way the next run goes on where this one
 * was. */
#include "core/base/clock.h"
#include "server/command/command.h"
#include "server/command/corpus_flags.h"
#include "server/command/progress.h"
#include "server/command/workshop.h"
#include "server/http/emit.h"
#include "server/store/documents.h"
#include "server/work/index_progress.h"
#include "server/work/indexer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define KEEP_SECONDS 3.0 /* between writes to the job table */

static atomic_bool stopping, leaving;

static void on_signal(int number)
{
    if (number == SIGTERM || atomic_exchange(&stopping, true)) {
        atomic_store(&leaving, true);
    }
    atomic_store(&stopping, true);
}

struct indexing {
    struct workshop shop;
    int64_t job;
    struct progress progress;
    double kept; /* when progress was last written to the job table */
    struct indexer_progress last;
};

/* --- progress --------------------------------------------------------------------------------- */

static void print_progress(struct indexing *x, const struct indexer_progress *p)
{
    char line[256], left[32], reading[64];
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
        progress_time(left, p->seconds_left);
        progress_reading(&x->progress, reading, p->reading, p->readings,
                         "these layers of neurons need more than a quarter of the memory together");
        (void)snprintf(line, sizeof line, "%s%lld of about %lld tokens, %.0f tokens/s, %s left",
                       reading, (long long)p->tokens, (long long)p->total_tokens,
                       p->tokens_per_second, left);
    }
    progress_show(&x->progress, share, line);
}

static void keep_progress(struct indexing *x, const char *state, const char *error)
{
    struct text json = {0};
    struct status st = {0};
    index_progress_json(&x->last, &json);
    if (!json.failed) { /* a row that lags behind is no reason to stop */
        (void)store_job_update(x->shop.store, x->job, state, json.data, error, &st);
    }
    text_free(&json);
}

static void show_progress(void *user, const struct indexer_progress *p)
{
    struct indexing *x = user;
    double t = clock_seconds();
    if (!p->source && strcmp(p->phase, "waiting") != 0) {
        x->last = *p;
    }
    print_progress(x, p);
    if (t - x->kept >= KEEP_SECONDS) {
        x->kept = t;
        keep_progress(x, "running", NULL);
    }
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
        corpus_flags_name(o, o->corpora[i], &name);
        emit_string(&w, name.data ? name.data : "");
        text_free(&name);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    int code = request.failed ? status_no_memory(st, 256)
                              : store_job_start(x->shop.store, "index", request.data, &x->job, st);
    text_free(&request);
    return code;
}

/* --- the run ---------------------------------------------------------------------------------- */

static int read_corpus(const struct indexer *ix, const struct options *o, const char *path,
                       struct status *st)
{
    const struct corpus_options options = corpus_flags_options(o, path);
    struct text name = {0};
    struct corpus_figures f = {0};
    corpus_flags_name(o, path, &name);
    int code =
        name.failed ? status_no_memory(st, 64) : indexer_read(ix, &options, name.data, &f, st);
    progress_end(&((const struct indexing *)ix->user)->progress);
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
    const struct indexer ix = {.engine = x->shop.engine,
                               .store = x->shop.store,
                               .sources = x->shop.sources,
                               .queue = x->shop.queue,
                               .names = x->shop.names,
                               .n_names = x->shop.n_names,
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
    progress_end(&x->progress);
    if (!code && late) {
        *st = own;
    }
    return code ? code : late;
}

int command_index(const struct options *o)
{
    struct indexing x = {.progress = progress_start()};
    struct status st = {0};
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    int code = workshop_open(&x.shop, o, &st);
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
                     engine_model_id(x.shop.engine), x.shop.n_names, (long long)x.last.tokens,
                     o->db);
    }
    workshop_close(&x.shop);
    if (code == STATUS_CANCELLED) {
        (void)fprintf(stderr, "stopped; what was computed is kept: the same command goes on\n");
        return EXIT_FAILED;
    }
    return code ? command_failed(&st) : EXIT_OK;
}
