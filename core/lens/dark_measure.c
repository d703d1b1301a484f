/* What is made of a pass's rows: sizes of errors, what they vote for, and how the runs' predictions
 * differ from the clean ones. */
#include "core/base/memory.h"
#include "core/lens/dark_private.h"
#include "core/math/kernels.h"
#include "core/math/top.h"

#include <math.h>
#include <string.h>

/* --- sizes of errors -------------------------------------------------------------------------- */

bool dark_mean(const struct dark *d, const struct dark_source *s, size_t prompt, float *m)
{
    size_t begin = d->first[prompt], end = d->first[prompt + 1], n = 0;
    size_t width = s->d_out;
    for (size_t t = begin + 1; t < end; t++) {
        n += !dark_kept(d, t);
    }
    for (size_t i = 0; i < width && n; i++) {
        double sum = 0.0;
        for (size_t t = begin + 1; t < end; t++) {
            sum += dark_kept(d, t) ? 0.0 : (double)s->target[t * width + i];
        }
        m[i] = (float)(sum / (double)n);
    }
    return n != 0;
}

static void measure_token(struct dark_source *s, size_t t, const float *mean)
{
    size_t width = s->d_out;
    const float *x = s->target + t * width, *recon = s->recon + t * width;
    double xx = 0.0, rr = 0.0, xr = 0.0, ee = 0.0, around = 0.0;
    for (size_t i = 0; i < width; i++) {
        double a = (double)x[i], b = (double)recon[i];
        xx += a * a;
        rr += b * b;
        xr += a * b;
        ee += (a - b) * (a - b);
        around += mean ? (a - (double)mean[i]) * (a - (double)mean[i]) : 0.0;
    }
    s->err_norm[t] = (float)sqrt(ee);
    s->rel_err[t] = xx > 0.0 ? (float)sqrt(ee / xx) : NAN;
    s->cosine[t] = xx > 0.0 && rr > 0.0 ? (float)(xr / sqrt(xx) / sqrt(rr)) : NAN;
    s->fvu_token[t] = around > 0.0 ? (float)(ee / around) : NAN;
}

static int measure_sizes(const struct dark *d, struct dark_source *s, struct status *st)
{
    size_t width = s->d_out;
    float *m = memory_alloc(width, sizeof *m);
    if (!m) {
        return status_no_memory(st, width * sizeof *m);
    }
    for (size_t p = 0; p < d->n_prompts; p++) {
        bool known = dark_mean(d, s, p, m);
        for (size_t t = d->first[p]; t < d->first[p + 1]; t++) {
            measure_token(s, t, known ? m : NULL);
        }
        for (size_t t = d->first[p]; t < d->first[p + 1] && !known && s->kl[DARK_MEAN]; t++) {
            s->kl[DARK_MEAN][t] = s->loss[DARK_MEAN][t] = NAN;
        }
    }
    memory_free(m);
    return STATUS_OK;
}

/* --- what errors vote for --------------------------------------------------------------------- */

static bool leads_to_stream(enum point point)
{
    return point == POINT_EMBED || point == POINT_RESID_PRE || point == POINT_RESID_MID ||
           point == POINT_RESID_POST || point == POINT_ATTN_OUT || point == POINT_MLP_OUT ||
           point == POINT_Z;
}

static double rms(const float *x, size_t n, float eps)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum / (double)n + (double)eps);
}

/* err as it arrives at the unembedding, every norm on the way frozen -> v [N, D]. */
static int stream_errors(const struct dark *d, const struct dark_source *s, const struct weights *w,
                         struct threads *threads, const float *resid, float *v, struct status *st)
{
    const struct gemma_config *c = w->config;
    const struct sae_source *of = sae_source(s->sae);
    const struct layer_weights *layer = &w->layers[of->layer];
    size_t D = c->hidden_size, N = dark_tokens(d);
    float *err = s->raw ? memory_alloc(N * of->d_out, sizeof *err) : v;
    if (!err) {
        return status_no_memory(st, N * of->d_out * sizeof *err);
    }
    for (size_t i = 0; i < N * of->d_out; i++) {
        err[i] = s->target[i] - s->recon[i];
    }
    if (s->raw) {
        kernel_matmul_as(threads, w->precision, err, N, &layer->o_proj, v);
        memory_free(err);
    }
    for (size_t t = 0; t < N; t++) {
        double scale = 1.0 / rms(resid + t * D, D, c->rms_norm_eps);
        scale /= s->raw ? rms(s->raw + t * D, D, c->rms_norm_eps) : 1.0;
        for (size_t i = 0; i < D; i++) {
            float gain = w->final_gain[i] * (s->raw ? layer->post_attention_gain[i] : 1.0f);
            v[t * D + i] = (float)((double)v[t * D + i] * scale) * gain;
        }
    }
    return STATUS_OK;
}

struct ranking {
    const float *logits; /* [rows, V] */
    size_t V, top, first;
    float *negated; /* [rows, V] */
    struct dark_source *s;
};

static void rank_row(void *argument, size_t row, int worker)
{
    (void)worker;
    const struct ranking *r = argument;
    const float *logits = r->logits + row * r->V;
    float *negated = r->negated + row * r->V;
    size_t at = 2 * (r->first + row) * r->top;
    for (size_t i = 0; i < r->V; i++) {
        negated[i] = -logits[i];
    }
    (void)top_pick(logits, r->V, r->top, r->s->vote_ids + at, r->s->votes + at);
    at += r->top;
    (void)top_pick(negated, r->V, r->top, r->s->vote_ids + at, r->s->votes + at);
    for (size_t i = 0; i < r->top; i++) {
        r->s->votes[at + i] = -r->s->votes[at + i];
    }
}

int dark_rank(const struct dark_pass *p, struct dark_source *s, size_t token, struct status *st)
{
    const struct weights *w = p->weights;
    size_t N = dark_tokens(p->d), V = w->config->vocab_size, D = w->config->hidden_size;
    size_t rows = N - token < DARK_LOGIT_ROWS ? N - token : DARK_LOGIT_ROWS;
    float *logits = memory_alloc(2 * rows * V, sizeof *logits);
    if (!logits) {
        return status_no_memory(st, 2 * rows * V * sizeof *logits);
    }
    kernel_matmul_as(p->threads, w->precision, s->arrives + token * D, rows, &w->unembedding,
                     logits);
    struct ranking r = {.logits = logits,
                        .V = V,
                        .top = p->d->top,
                        .first = token,
                        .negated = logits + rows * V,
                        .s = s};
    threads_run(p->threads, rows, rank_row, &r);
    memory_free(logits);
    return STATUS_OK;
}

int dark_measure(const struct dark_pass *p, struct dark_source *s, const float *resid,
                 struct status *st)
{
    const struct dark *d = p->d;
    const struct weights *w = p->weights;
    size_t N = dark_tokens(d), D = w->config->hidden_size;
    int code = measure_sizes(d, s, st);
    s->leads = leads_to_stream(sae_source(s->sae)->output);
    if (code || !s->leads) {
        return code;
    }
    float *row = memory_alloc(D, sizeof *row);
    code = row ? stream_errors(d, s, w, p->threads, resid, s->arrives, st)
               : status_no_memory(st, D * sizeof *row);
    for (size_t t = 0; t < N && !code; t++) {
        tensor_widen(&w->unembedding, (size_t)d->argmax[t] * D, D, row);
        s->err_logit[t] = kernel_dot(s->arrives + t * D, row, D);
        s->err_share[t] = s->err_logit[t] / d->argmax_precap[t];
    }
    memory_free(row);
    return code;
}

/* --- predictions ------------------------------------------------------------------------------ */

struct comparing {
    struct dark *d;
    const struct dark_fork *forks;
    size_t n_forks;
    size_t V;
    size_t token;         /* the first of the block */
    const float *logits;  /* [tokens, 1 + n_forks, V] clean, then each fork, softcapped */
    float *probabilities; /* [tokens, V] clean */
    bool clean;
};

/* KL(p || q) = sum p (log p - log q). */
static double divergence(const float *p, const float *a, double za, const float *b, double zb,
                         size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)p[i] * (((double)a[i] - za) - ((double)b[i] - zb));
    }
    return sum > 0.0 ? sum : 0.0; /* 0 but for rounding */
}

static void compare_token(void *argument, size_t i, int worker)
{
    (void)worker;
    const struct comparing *c = argument;
    size_t t = c->token + i, V = c->V;
    const float *clean = c->logits + i * (1 + c->n_forks) * V;
    float *p = c->probabilities + i * V;
    bool last = false;
    for (size_t prompt = 0; prompt < c->d->n_prompts; prompt++) {
        last = last || t + 1 == c->d->first[prompt + 1];
    }
    size_t next = last ? 0 : (size_t)c->d->ids[t + 1];
    double z = kernel_logsumexp(clean, V);
    if (c->clean) {
        c->d->loss_clean[t] = last ? NAN : (float)(z - (double)clean[next]);
    }
    memcpy(p, clean, V * sizeof *p);
    kernel_softmax(p, V);
    for (size_t f = 0; f < c->n_forks; f++) {
        const float *run = clean + (1 + f) * V;
        struct dark_source *s = &c->d->sources[c->forks[f].source];
        double zr = kernel_logsumexp(run, V);
        s->loss[c->forks[f].run][t] = last ? NAN : (float)(zr - (double)run[next]);
        s->kl[c->forks[f].run][t] = (float)divergence(p, clean, z, run, zr, V);
    }
}

static void find_argmax(struct dark *d, size_t t, const float *logits, size_t V)
{
    (void)top_pick(logits, V, 1, &d->argmax[t], &d->argmax_precap[t]);
}

int dark_compare(struct dark_pass *p, bool clean, size_t token, size_t *n_tokens, struct status *st)
{
    struct dark *d = p->d;
    const struct weights *w = p->weights;
    size_t N = dark_tokens(d), D = w->config->hidden_size, V = w->config->vocab_size;
    size_t each = 1 + p->n_forks;
    size_t block = DARK_LOGIT_ROWS / each ? DARK_LOGIT_ROWS / each : 1;
    size_t n = N - token < block ? N - token : block;
    float *rows = memory_alloc(n * each * D, sizeof *rows);
    float *logits = memory_alloc(n * (each + 1) * V, sizeof *logits);
    bool ok = rows && logits;
    if (ok) {
        for (size_t i = 0; i < n * each; i++) {
            memcpy(rows + i * D, p->final + (i % each * N + token + i / each) * D,
                   D * sizeof *rows);
        }
        kernel_matmul_as(p->threads, w->precision, rows, n * each, &w->unembedding, logits);
        for (size_t i = 0; i < n && clean; i++) {
            find_argmax(d, token + i, logits + i * each * V, V);
        }
        kernel_softcap_all(p->threads, logits, n * each * V, w->config->final_softcap);
        struct comparing c = {.d = d,
                              .forks = p->forks,
                              .n_forks = p->n_forks,
                              .V = V,
                              .token = token,
                              .logits = logits,
                              .probabilities = logits + n * each * V,
                              .clean = clean};
        threads_run(p->threads, n, compare_token, &c);
    }
    memory_free(rows);
    memory_free(logits);
    *n_tokens = n;
    return ok ? STATUS_OK : status_no_memory(st, n * (each + 1) * V * sizeof *logits);
}
