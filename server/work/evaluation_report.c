#include "server/work/evaluation_report.h"

#include "core/base/memory.h"
#include "server/http/emit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_SHOWN = 50, SEEN_MIN = 5, SEEN_SHARE = 20000 };

static void number(struct emitter *w, const char *key, double value)
{
    emit_key(w, key);
    emit_double(w, value);
}

static void whole(struct emitter *w, const char *key, double value)
{
    emit_key(w, key);
    emit_int(w, (long long)value);
}

static void token_text(struct emitter *w, const struct engine *engine, int32_t id)
{
    struct text t = {0};
    engine_token_text(engine, id, &t);
    emit_string_n(w, t.data ? t.data : "", t.length);
    w->out->failed = w->out->failed || t.failed;
    text_free(&t);
}

static void write_figures(struct emitter *w, const struct evaluation *e)
{
    const struct evaluation_figures f = evaluation_figures(e);
    emit_key(w, "figures");
    emit_object(w);
    number(w, "l0", f.l0);
    number(w, "mse", f.mse);
    number(w, "fvu", f.fvu);
    number(w, "cosine", f.cosine);
    number(w, "errNorm", f.err_norm);
    number(w, "relErr", f.rel_err);
    number(w, "l2Ratio", f.l2_ratio);
    number(w, "relativeReconstructionBias", f.bias);
    number(w, "ceClean", f.ce_clean);
    number(w, "ceSplice", f.ce_splice);
    number(w, "ceZero", f.ce_zero);
    number(w, "ceMean", f.ce_mean);
    number(w, "klSplice", f.kl_splice);
    number(w, "klZero", f.kl_zero);
    number(w, "klMean", f.kl_mean);
    number(w, "lossRecovered", f.loss_recovered);
    number(w, "lossRecoveredMean", f.loss_recovered_mean);
    number(w, "klRecovered", f.kl_recovered);
    number(w, "errLogit", f.err_logit);
    number(w, "errShare", f.err_share);
    emit_end_object(w);
}

static void write_linear(struct emitter *w, const struct evaluation *e,
                         const struct evaluation_about *about)
{
    emit_key(w, "linear");
    emit_object(w);
    whole(w, "tokens", (double)linear_rows(&e->linear, false));
    whole(w, "heldOutTokens", (double)linear_rows(&e->linear, true));
    number(w, "r2", about->linear_r2);
    number(w, "normR2", about->linear_norm_r2);
    emit_end_object(w);
}

static void write_vote_list(struct emitter *w, const struct engine *engine, const char *key,
                            const int32_t *ids, const float *values)
{
    emit_key(w, key);
    emit_array(w);
    for (size_t i = 0; i < ENGINE_LOGITS; i++) {
        emit_object(w);
        emit_key(w, "token");
        token_text(w, engine, ids[i]);
        whole(w, "id", ids[i]);
        number(w, "logit", (double)values[i]);
        emit_end_object(w);
    }
    emit_end_array(w);
}

static void write_votes(struct emitter *w, const struct engine *engine,
                        const struct evaluation_about *about)
{
    const struct engine_logits *v = &about->votes;
    emit_key(w, "errorVotes");
    if (!about->has_votes) {
        emit_null(w);
        return;
    }
    emit_object(w);
    write_vote_list(w, engine, "promoted", v->top_ids, v->top);
    write_vote_list(w, engine, "suppressed", v->bottom_ids, v->bottom);
    emit_end_object(w);
}

/* Bins up to the last that is not empty. */
static void write_bins(struct emitter *w, const char *key, double width, const uint64_t *bins,
                       size_t n)
{
    while (n > 1 && bins[n - 1] == 0) {
        n--;
    }
    emit_key(w, key);
    emit_object(w);
    number(w, "width", width);
    emit_key(w, "counts");
    emit_array(w);
    for (size_t i = 0; i < n; i++) {
        emit_int(w, (long long)bins[i]);
    }
    emit_end_array(w);
    emit_end_object(w);
}

/* --- tokens ----------------------------------------------------------------------------------- */

static double mean_error(const struct evaluation_token *t)
{
    return t->rel_err / (double)t->count;
}

static int by_error(const void *a, const void *b)
{
    double x = mean_error(a), y = mean_error(b);
    uint32_t i = ((const struct evaluation_token *)a)->id;
    uint32_t j = ((const struct evaluation_token *)b)->id;
    return x != y ? (x < y ? 1 : -1) : (i > j) - (i < j);
}

static int by_weight(const void *a, const void *b)
{
    const struct evaluation_token *x = a, *y = b;
    return x->err2 != y->err2 ? (x->err2 < y->err2 ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

static void write_tokens(struct emitter *w, const struct engine *engine, const struct evaluation *e,
                         const char *key, const struct evaluation_token *tokens, size_t n)
{
    emit_key(w, key);
    emit_array(w);
    for (size_t i = 0; i < n && i < TOKENS_SHOWN; i++) {
        emit_object(w);
        emit_key(w, "token");
        token_text(w, engine, (int32_t)tokens[i].id);
        whole(w, "id", tokens[i].id);
        whole(w, "count", tokens[i].count);
        number(w, "relErr", mean_error(&tokens[i]));
        number(w, "share", e->sums.err2 > 0.0 ? tokens[i].err2 / e->sums.err2 : 0.0);
        emit_end_object(w);
    }
    emit_end_array(w);
}

static void write_token_lists(struct emitter *w, const struct engine *engine,
                              const struct evaluation *e)
{
    struct evaluation_token *seen = memory_alloc(e->vocabulary, sizeof *seen);
    double share = e->sums.tokens / SEEN_SHARE;
    uint32_t least = share > SEEN_MIN ? (uint32_t)share : SEEN_MIN;
    size_t n = 0, often = 0;
    if (!seen) {
        w->out->failed = true;
        return;
    }
    for (size_t id = 0; id < e->vocabulary; id++) {
        if (e->tokens[id].count) {
            seen[n++] = e->tokens[id];
        }
    }
    whole(w, "differentTokens", (double)n);
    whole(w, "leastCount", least);
    qsort(seen, n, sizeof *seen, by_weight);
    write_tokens(w, engine, e, "heaviestTokens", seen, n);
    for (size_t i = 0; i < n; i++) {
        if (seen[i].count >= least) {
            seen[often++] = seen[i];
        }
    }
    qsort(seen, often, sizeof *seen, by_error);
    write_tokens(w, engine, e, "worstTokens", seen, often);
    memory_free(seen);
}

/* --- contexts --------------------------------------------------------------------------------- */

static void write_contexts(struct emitter *w, const struct engine *engine,
                           const struct evaluation *e)
{
    emit_key(w, "worstContexts");
    emit_array(w);
    for (size_t i = 0; i < e->n_worst; i++) {
        const struct evaluation_context *c = &e->worst[i];
        emit_object(w);
        whole(w, "number", (double)c->number);
        whole(w, "line", (double)c->line);
        number(w, "relErr", c->rel_err);
        emit_key(w, "tokens");
        emit_array(w);
        for (size_t t = 0; t < c->n; t++) {
            token_text(w, engine, c->ids[t]);
        }
        emit_end_array(w);
        emit_key(w, "relErrs");
        emit_floats(w, c->rel_errs, c->n);
        emit_end_object(w);
    }
    emit_end_array(w);
}

void evaluation_report(const struct engine *engine, const struct evaluation *e,
                       const struct evaluation_about *about, struct text *out)
{
    struct emitter w = {.out = out};
    emit_object(&w);
    emit_key(&w, "source");
    emit_string(&w, about->source);
    emit_key(&w, "corpus");
    emit_string(&w, about->corpus);
    emit_key(&w, "settings");
    emit_raw(&w, about->settings, strlen(about->settings));
    emit_key(&w, "tokenLimit");
    if (about->token_limit) {
        emit_int(&w, about->token_limit);
    } else {
        emit_null(&w);
    }
    emit_key(&w, "finished");
    emit_bool(&w, about->finished);
    whole(&w, "contexts", e->sums.contexts);
    whole(&w, "tokens", e->sums.tokens);
    whole(&w, "predictions", e->sums.predictions);
    write_figures(&w, e);
    write_linear(&w, e, about);
    write_votes(&w, engine, about);
    write_bins(&w, "errorHistogram", EVALUATION_ERROR_WIDTH, e->error_bins, EVALUATION_ERROR_BINS);
    write_bins(&w, "l0Histogram", 1.0, e->l0_bins, EVALUATION_L0_BINS);
    write_token_lists(&w, engine, e);
    write_contexts(&w, engine, e);
    emit_end_object(&w);
}
