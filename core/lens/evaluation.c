#include "core/lens/evaluation.h"

#include "core/base/memory.h"
#include "core/lens/dark_private.h"

#include <math.h>
#include <string.h>

int evaluation_create(struct evaluation **out, size_t d_in, size_t d_out, size_t vocabulary,
                      size_t hidden, struct status *st)
{
    struct evaluation *e = memory_zalloc(1, sizeof *e);
    *out = NULL;
    if (!e) {
        return status_no_memory(st, sizeof *e);
    }
    e->d_in = d_in;
    e->d_out = d_out;
    e->vocabulary = vocabulary;
    e->hidden = hidden;
    e->arrives = memory_zalloc(hidden, sizeof *e->arrives);
    e->x = memory_zalloc(d_out, sizeof *e->x);
    e->tokens = memory_zalloc(vocabulary, sizeof *e->tokens);
    int code = e->x && e->arrives && e->tokens
                   ? linear_create(&e->linear, d_in, d_out + 1, st)
                   : status_no_memory(st, vocabulary * sizeof *e->tokens);
    if (code) {
        evaluation_free(e);
        return code;
    }
    for (size_t id = 0; id < vocabulary; id++) {
        e->tokens[id].id = (uint32_t)id;
    }
    *out = e;
    return STATUS_OK;
}

static void free_context(struct evaluation_context *c)
{
    memory_free(c->ids);
    memory_free(c->rel_errs);
}

void evaluation_free(struct evaluation *e)
{
    if (!e) {
        return;
    }
    for (size_t i = 0; i < e->n_worst; i++) {
        free_context(&e->worst[i]);
    }
    linear_free(&e->linear);
    memory_free(e->x);
    memory_free(e->arrives);
    memory_free(e->tokens);
    memory_free(e);
}

/* --- one token -------------------------------------------------------------------------------- */

static void add_sizes(struct evaluation *e, const struct dark_source *s, size_t t)
{
    const float *x = s->target + t * e->d_out, *y = s->recon + t * e->d_out;
    struct evaluation_sums *sums = &e->sums;
    double xx = 0.0, yy = 0.0, xy = 0.0, err2 = 0.0;
    for (size_t i = 0; i < e->d_out; i++) {
        double a = (double)x[i], b = (double)y[i];
        e->x[i] += a;
        xx += a * a;
        yy += b * b;
        xy += a * b;
        err2 += (a - b) * (a - b);
    }
    sums->xx += xx;
    sums->yy += yy;
    sums->xy += xy;
    sums->err2 += err2;
    sums->err_norm += sqrt(err2);
    if (xx > 0.0) { /* a row of zeros has no relative error */
        sums->rel_err += sqrt(err2 / xx);
        sums->l2_ratio += sqrt(yy / xx);
        sums->cosine += yy > 0.0 ? xy / sqrt(xx) / sqrt(yy) : 0.0;
    }
}

/* What err says of the next token. */
static void add_votes(struct evaluation *e, const struct dark *d, const struct dark_source *s,
                      size_t t)
{
    if (s->leads) {
        for (size_t i = 0; i < e->hidden; i++) {
            e->arrives[i] += (double)s->arrives[t * e->hidden + i];
        }
        e->sums.err_logit += (double)s->err_logit[t];
        e->sums.precap += (double)d->argmax_precap[t];
        e->leads = true;
    }
}

static void add_token(struct evaluation *e, const struct dark *d, const struct dark_source *s,
                      size_t t)
{
    struct evaluation_sums *sums = &e->sums;
    struct evaluation_token *token = &e->tokens[d->ids[t]];
    size_t active = s->features.start[t + 1] - s->features.start[t];
    double rel = isnan(s->rel_err[t]) ? 0.0 : (double)s->rel_err[t];
    size_t bin = rel < EVALUATION_ERROR_BINS * EVALUATION_ERROR_WIDTH
                     ? (size_t)(rel / EVALUATION_ERROR_WIDTH)
                     : EVALUATION_ERROR_BINS - 1;
    add_sizes(e, s, t);
    add_votes(e, d, s, t);
    sums->tokens += 1.0;
    sums->l0 += (double)active;
    for (int run = 0; run < DARK_RUNS; run++) {
        if (EVALUATION_RUNS >> run & 1u && !isnan(s->kl[run][t])) {
            sums->kl[run] += (double)s->kl[run][t];
        }
    }
    e->error_bins[bin < EVALUATION_ERROR_BINS ? bin : EVALUATION_ERROR_BINS - 1]++;
    e->l0_bins[active < EVALUATION_L0_BINS ? active : EVALUATION_L0_BINS - 1]++;
    token->count++;
    token->rel_err += rel;
    token->err2 += (double)s->err_norm[t] * (double)s->err_norm[t];
}

static void add_prediction(struct evaluation *e, const struct dark *d, const struct dark_source *s,
                           size_t t)
{
    e->sums.predictions += 1.0;
    e->sums.ce_clean += (double)d->loss_clean[t];
    for (int run = 0; run < DARK_RUNS; run++) {
        if (EVALUATION_RUNS >> run & 1u) {
            /* without a mean nothing was put in its place */
            float loss = isnan(s->loss[run][t]) ? d->loss_clean[t] : s->loss[run][t];
            e->sums.ce[run] += (double)loss;
        }
    }
}

/* --- one context ------------------------------------------------------------------------------ */

static int keep_worst(struct evaluation *e, const struct dark *d, const struct dark_source *s,
                      size_t prompt, double mean, int64_t number, int64_t line, struct status *st)
{
    size_t begin = d->first[prompt], n = d->first[prompt + 1] - begin, at = e->n_worst;
    while (at > 0 && e->worst[at - 1].rel_err < mean) {
        at--;
    }
    if (at == EVALUATION_WORST) {
        return STATUS_OK;
    }
    struct evaluation_context c = {.rel_err = mean, .number = number, .line = line, .n = n};
    c.ids = memory_alloc(n, sizeof *c.ids);
    c.rel_errs = memory_alloc(n, sizeof *c.rel_errs);
    if (!c.ids || !c.rel_errs) {
        free_context(&c);
        return status_no_memory(st, n * sizeof *c.ids);
    }
    for (size_t t = 0; t < n; t++) {
        c.ids[t] = d->ids[begin + t];
        c.rel_errs[t] = dark_kept(d, begin + t) ? NAN : s->rel_err[begin + t];
    }
    if (e->n_worst == EVALUATION_WORST) {
        free_context(&e->worst[--e->n_worst]);
    }
    memmove(&e->worst[at + 1], &e->worst[at], (e->n_worst - at) * sizeof c);
    e->worst[at] = c;
    e->n_worst++;
    return STATUS_OK;
}

/* The counted rows of a prompt, brought together for the fit. */
static int add_linear(struct evaluation *e, const struct dark *d, const struct dark_source *s,
                      size_t prompt, bool held_out, struct threads *threads, struct status *st)
{
    size_t begin = d->first[prompt], end = d->first[prompt + 1], n = 0, m = e->d_out + 1;
    float *x = memory_alloc((end - begin) * (e->d_in + m), sizeof *x);
    if (!x) {
        return status_no_memory(st, (end - begin) * (e->d_in + m) * sizeof *x);
    }
    float *err = x + (end - begin) * e->d_in;
    for (size_t t = begin; t < end; t++) {
        if (dark_kept(d, t)) {
            continue;
        }
        memcpy(x + n * e->d_in, s->x + t * e->d_in, e->d_in * sizeof *x);
        for (size_t i = 0; i < e->d_out; i++) {
            err[n * m + i] = s->target[t * e->d_out + i] - s->recon[t * e->d_out + i];
        }
        err[n * m + e->d_out] = s->err_norm[t] * s->err_norm[t];
        n++;
    }
    linear_add(&e->linear, threads, held_out, x, err, n);
    memory_free(x);
    return STATUS_OK;
}

static int add_context(struct evaluation *e, const struct dark *d, const struct dark_source *s,
                       size_t prompt, int64_t number, int64_t line, struct threads *threads,
                       struct status *st)
{
    size_t begin = d->first[prompt], end = d->first[prompt + 1];
    double counted = 0.0, before = e->sums.rel_err;
    for (size_t t = begin; t < end; t++) {
        if (!dark_kept(d, t)) {
            add_token(e, d, s, t);
            counted += 1.0;
            if (t + 1 < end && !dark_kept(d, t + 1)) {
                add_prediction(e, d, s, t);
            }
        }
    }
    e->sums.contexts += 1.0;
    int code = add_linear(e, d, s, prompt, number % EVALUATION_HOLD_OUT == EVALUATION_HOLD_OUT - 1,
                          threads, st);
    if (!code && counted >= EVALUATION_CONTEXT_MIN) {
        code = keep_worst(e, d, s, prompt, (e->sums.rel_err - before) / counted, number, line, st);
    }
    return code;
}

int evaluation_add(struct evaluation *e, const struct dark *d, size_t source, const int64_t *number,
                   const int64_t *line, struct threads *threads, struct status *st)
{
    int code = STATUS_OK;
    for (size_t p = 0; p < d->n_prompts && !code; p++) {
        code = add_context(e, d, &d->sources[source], p, number[p], line[p], threads, st);
    }
    return code;
}

/* --- figures ---------------------------------------------------------------------------------- */

static double ratio(double a, double b)
{
    return b > 0.0 ? a / b : (double)NAN;
}

struct evaluation_figures evaluation_figures(const struct evaluation *e)
{
    const struct evaluation_sums *s = &e->sums;
    double n = s->tokens, p = s->predictions, mean2 = 0.0;
    for (size_t i = 0; i < e->d_out; i++) {
        mean2 += n > 0.0 ? e->x[i] / n * (e->x[i] / n) : 0.0;
    }
    struct evaluation_figures f = {.l0 = ratio(s->l0, n),
                                   .mse = ratio(s->err2, n * (double)e->d_out),
                                   .fvu = ratio(s->err2, s->xx - n * mean2),
                                   .cosine = ratio(s->cosine, n),
                                   .rel_err = ratio(s->rel_err, n),
                                   .l2_ratio = ratio(s->l2_ratio, n),
                                   .bias = ratio(s->yy, s->xy),
                                   .ce_clean = ratio(s->ce_clean, p),
                                   .ce_splice = ratio(s->ce[DARK_SPLICE], p),
                                   .ce_zero = ratio(s->ce[DARK_ZERO], p),
                                   .ce_mean = ratio(s->ce[DARK_MEAN], p),
                                   .kl_splice = ratio(s->kl[DARK_SPLICE], n),
                                   .kl_zero = ratio(s->kl[DARK_ZERO], n),
                                   .kl_mean = ratio(s->kl[DARK_MEAN], n)};
    f.err_norm = ratio(s->err_norm, n);
    f.err_logit = e->leads ? ratio(s->err_logit, n) : (double)NAN;
    f.err_share = e->leads ? ratio(s->err_logit, s->precap) : (double)NAN;
    f.kl_recovered = ratio(f.kl_zero - f.kl_splice, f.kl_zero);
    f.loss_recovered = dark_recovered(f.ce_clean, f.ce_splice, f.ce_zero);
    f.loss_recovered_mean = dark_recovered(f.ce_clean, f.ce_splice, f.ce_mean);
    return f;
}
