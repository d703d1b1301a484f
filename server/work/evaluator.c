#include "server/work/evaluator.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/store/documents.h"
#include "server/work/evaluator_private.h"
#include "server/work/pace.h"

#include <string.h>

/* --- progress --------------------------------------------------------------------------------- */

static int check_stop(const struct evaluator *ev, struct status *st)
{
    return ev->cancel && atomic_load(ev->cancel)
               ? status_set(st, STATUS_CANCELLED, "the evaluation was stopped")
               : STATUS_OK;
}

static void report(struct reading *r, const struct corpus *corpus)
{
    struct evaluator_progress *p = &r->progress;
    struct pace pace = pace_of(corpus_estimate(corpus), p->tokens, p->tokens - r->tokens_before,
                               clock_seconds() - r->started);
    p->total_tokens = pace.total_tokens;
    p->tokens_per_second = pace.per_second;
    p->seconds_left = pace.seconds_left;
    if (r->ev->progress) {
        r->ev->progress(r->ev->user, p);
    }
}

/* --- a reading of the corpus ------------------------------------------------------------------ */

static int64_t lowest_mark(const struct reading *r)
{
    int64_t lowest = INT64_MAX;
    for (size_t i = 0; i < r->n; i++) {
        if (r->subjects[i].active && r->subjects[i].mark < lowest) {
            lowest = r->subjects[i].mark;
        }
    }
    return lowest;
}

/* A full batch: run, shown, and now and then kept. */
static int step(struct reading *r, const struct corpus *corpus, struct status *st)
{
    int code = evaluator_batch_run(r, st);
    if (!code) {
        report(r, corpus);
        code = evaluator_time_to_keep(r) ? evaluator_keep(r, false, st) : STATUS_OK;
    }
    return code;
}

static int read_contexts(struct reading *r, struct corpus *corpus, struct status *st)
{
    int64_t lowest = lowest_mark(r);
    int code = STATUS_OK;
    for (int64_t number = 0; !code; number++) {
        struct corpus_context context;
        bool found;
        code = corpus_next(corpus, &context, &found, st);
        if (!code && r->batch.n && (!found || evaluator_batch_full(r, &context))) {
            code = step(r, corpus, st);
        }
        if (code || !found) {
            break;
        }
        code = check_stop(r->ev, st);
        if (code) {
            break;
        }
        if (number < lowest) {
            r->progress.tokens += context.counted;
            r->tokens_before = r->progress.tokens;
            r->started = clock_seconds();
        } else {
            code = evaluator_batch_add(r, &context, number, st);
        }
    }
    return code;
}

static int run_reading(struct reading *r, const struct corpus_options *options, struct status *st)
{
    struct corpus *corpus = NULL;
    int code = STATUS_OK;
    for (size_t i = 0; i < r->n && !code; i++) {
        code = evaluator_open_subject(r, &r->subjects[i], st);
    }
    if (code || lowest_mark(r) == INT64_MAX) { /* all finished before */
        return code;
    }
    code = corpus_open(&corpus, r->ev->engine, options, st);
    if (code) {
        return code;
    }
    r->started = r->kept_at = clock_seconds();
    code = read_contexts(r, corpus, st);
    struct status own = {0};
    if (!code) {
        code = evaluator_keep(r, true, st);
    } else if (code == STATUS_CANCELLED && evaluator_keep(r, false, &own)) {
        *st = own;
        code = (int)st->code;
    }
    report(r, corpus);
    corpus_close(corpus);
    return code;
}

static void close_reading(struct reading *r)
{
    for (size_t i = 0; i < r->n; i++) {
        evaluation_free(r->subjects[i].evaluation);
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    evaluator_batch_free(&r->batch);
    memory_free(r->subjects);
}

/* --- all readings ----------------------------------------------------------------------------- */

static uint64_t sums_bytes(const struct sae_source *s)
{
    uint64_t d = s->d_in, m = s->d_out + 1;
    return 2 * 8 * (d * d + d * m);
}

/* How many of the sources from `begin` on fit the memory together, one at least. */
static size_t fitting(const struct evaluator *ev, size_t begin)
{
    const struct catalogue *c = engine_catalogue(ev->engine);
    uint64_t left = ev->memory ? ev->memory : EVALUATOR_MEMORY;
    size_t n = 0;
    while (begin + n < ev->n_names) {
        uint64_t bytes = sums_bytes(catalogue_find(c, ev->names[begin + n]));
        if (n && bytes > left) {
            break;
        }
        left = bytes < left ? left - bytes : 0;
        n++;
    }
    return n;
}

static int read_once(struct reading *r, const struct corpus_options *options, size_t begin,
                     size_t n, struct status *st)
{
    const struct catalogue *c = engine_catalogue(r->ev->engine);
    r->subjects = memory_zalloc(n, sizeof *r->subjects);
    if (!r->subjects) {
        return status_no_memory(st, n * sizeof *r->subjects);
    }
    r->n = n;
    for (size_t i = 0; i < n; i++) {
        r->subjects[i].source = catalogue_find(c, r->ev->names[begin + i]);
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    int code = run_reading(r, options, st);
    close_reading(r);
    return code;
}

int evaluator_run(const struct evaluator *ev, const struct corpus_options *options,
                  const char *name, int64_t *corpus, struct status *st)
{
    struct text settings = {0};
    *corpus = 0;
    corpus_settings(ev->engine, options, &settings);
    int code = settings.failed ? status_no_memory(st, 128)
                               : store_corpus(ev->store, sources_model(ev->sources), name,
                                              settings.data, corpus, st);
    size_t readings = 0;
    for (size_t at = 0; at < ev->n_names; at += fitting(ev, at)) {
        readings++;
    }
    if (!code && readings > 1 && options->path && strcmp(options->path, "-") == 0) {
        code =
            status_set(st, STATUS_INVALID,
                       "the sums of %zu sources need %zu readings of the corpus, and the standard "
                       "input can be read once: give a file, or fewer sources at a time",
                       ev->n_names, readings);
    }
    size_t begin = 0;
    for (size_t i = 0; i < readings && !code; i++) {
        size_t n = fitting(ev, begin);
        struct reading r = {.ev = ev,
                            .name = name,
                            .settings = settings.data,
                            .corpus = *corpus,
                            .token_limit = options->limit_tokens,
                            .progress = {.reading = i + 1, .readings = readings}};
        code = read_once(&r, options, begin, n, st);
        begin += n;
    }
    text_free(&settings);
    return code;
}
