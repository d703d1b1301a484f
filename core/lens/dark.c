/* The passes: clean sequences, and behind them the forks that an SAE's site sends elsewhere. */
#include "core/lens/dark.h"

#include "core/base/memory.h"
#include "core/lens/dark_private.h"
#include "core/math/kernels.h"

#include <math.h>
#include <string.h>

struct pass {
    struct dark *d;
    const struct weights *weights;
    struct threads *threads;
    const struct dark_fork *forks;
    size_t n_forks;
    struct sequence *sequences; /* [(1 + n_forks) * n_prompts] clean ones first */
    struct tap *taps;
    size_t n_taps;
    float *final;     /* [(1 + n_forks) * N, D] */
    float *mean;      /* [widest d_out] */
    struct status st; /* what went wrong inside the pass */
};

const char *dark_run_name(enum dark_run run)
{
    static const char *const names[] = {"splice", "splice_keep_bos", "zero", "mean", "error_only"};
    return names[run];
}

/* --- room ------------------------------------------------------------------------------------- */

static int allocate_source(const struct dark *d, struct dark_source *s, const struct weights *w,
                           struct status *st)
{
    const struct sae_source *of = sae_source(s->sae);
    size_t N = dark_tokens(d);
    s->d_in = of->d_in;
    s->d_out = of->d_out;
    size_t arrays = 6 + 2 * (size_t)__builtin_popcount(d->runs);
    s->block = memory_alloc(arrays * N, sizeof *s->block);
    s->x = memory_alloc(N * of->d_in, sizeof *s->x);
    s->target = of->input == of->output ? s->x : memory_alloc(N * of->d_out, sizeof *s->target);
    s->recon = memory_alloc(N * of->d_out, sizeof *s->recon);
    s->raw =
        of->output == POINT_Z ? memory_alloc(N * w->config->hidden_size, sizeof *s->raw) : NULL;
    s->vote_ids = d->top ? memory_zalloc(2 * N * d->top, sizeof *s->vote_ids) : NULL;
    s->votes = d->top ? memory_zalloc(2 * N * d->top, sizeof *s->votes) : NULL;
    if (!s->block || !s->x || !s->target || !s->recon || (of->output == POINT_Z && !s->raw) ||
        (d->top && (!s->vote_ids || !s->votes))) {
        return status_no_memory(st, N * (arrays + of->d_in + 2 * of->d_out) * sizeof(float));
    }
    float *next = s->block;
    for (size_t i = 0; i < arrays * N; i++) {
        next[i] = NAN;
    }
    float **const one[] = {&s->err_norm,  &s->rel_err,   &s->cosine,
                           &s->fvu_token, &s->err_logit, &s->err_share};
    for (size_t i = 0; i < sizeof one / sizeof one[0]; i++, next += N) {
        *one[i] = next;
    }
    for (int run = 0; run < DARK_RUNS; run++) {
        if (d->runs >> run & 1u) {
            s->kl[run] = next;
            s->loss[run] = next + N;
            next += 2 * N;
        }
    }
    return STATUS_OK;
}

static void free_source(struct dark_source *s)
{
    if (s->target != s->x) {
        memory_free(s->target);
    }
    memory_free(s->x);
    memory_free(s->recon);
    memory_free(s->raw);
    memory_free(s->vote_ids);
    memory_free(s->votes);
    memory_free(s->block);
    sparse_free(&s->features);
    *s = (struct dark_source){.sae = s->sae};
}

static int allocate(struct dark *d, const struct weights *w, struct status *st)
{
    size_t N = dark_tokens(d);
    d->argmax = memory_zalloc(N, sizeof *d->argmax);
    d->argmax_precap = memory_zalloc(N, sizeof *d->argmax_precap);
    d->loss_clean = memory_zalloc(N, sizeof *d->loss_clean);
    if (!d->argmax || !d->argmax_precap || !d->loss_clean) {
        return status_no_memory(st, N * sizeof *d->argmax);
    }
    int code = STATUS_OK;
    for (size_t i = 0; i < d->n_sources && !code; i++) {
        code = allocate_source(d, &d->sources[i], w, st);
    }
    return code;
}

void dark_free(struct dark *d)
{
    for (size_t i = 0; i < d->n_sources; i++) {
        free_source(&d->sources[i]);
    }
    memory_free(d->argmax);
    memory_free(d->argmax_precap);
    memory_free(d->loss_clean);
    d->argmax = NULL;
    d->argmax_precap = d->loss_clean = NULL;
}

/* --- the hook --------------------------------------------------------------------------------- */

/* Encodes all rows of a source, once. */
static int encode(const struct pass *p, struct dark_source *s, struct status *st)
{
    if (s->features.rows) {
        return STATUS_OK;
    }
    int code = sae_encode(s->sae, p->threads, s->x, dark_tokens(p->d), &s->features, st);
    return code ? code : sae_decode(s->sae, p->threads, &s->features, s->x, s->recon, st);
}

/* What the run puts in the place of a row; NULL: nothing. */
static const float *replacement(enum dark_run run, const float *recon, const float *mean, size_t t)
{
    return run == DARK_SPLICE                 ? recon
           : run == DARK_SPLICE_KEEP_BOS && t ? recon
           : run == DARK_MEAN                 ? mean
                                              : NULL;
}

/* The rows [n, width] of one prompt at the site, in one run. */
static void replace(const struct pass *p, const struct dark_source *s, enum dark_run run,
                    size_t prompt, float *rows, size_t width)
{
    size_t begin = p->d->first[prompt], n = p->d->first[prompt + 1] - begin;
    bool known = run != DARK_MEAN || dark_mean(p->d, s, prompt, p->mean);
    for (size_t t = 0; t < n && known; t++) {
        float *h = rows + t * width;
        const float *recon = s->recon + (begin + t) * width;
        const float *other = replacement(run, recon, p->mean, t);
        if (dark_kept(p->d, begin + t)) {
            continue;
        }
        if (other) {
            memcpy(h, other, width * sizeof *h);
        }
        for (size_t i = 0; i < width && run == DARK_ERROR_ONLY; i++) {
            h[i] -= recon[i];
        }
        for (size_t i = 0; i < width && run == DARK_ZERO; i++) {
            h[i] = 0.0f;
        }
    }
}

/* Clean sequences stand before their forks, so that the taps have filled a source's x and target
 * when the first of its forks comes. */
static void visit(void *user, enum point point, int layer, size_t sequence, float *rows, size_t n,
                  size_t width, size_t past)
{
    (void)n;
    (void)past;
    struct pass *p = user;
    size_t prompts = p->d->n_prompts;
    if (sequence < prompts || p->st.code) {
        return;
    }
    const struct dark_fork *fork = &p->forks[sequence / prompts - 1];
    struct dark_source *s = &p->d->sources[fork->source];
    const struct sae_source *of = sae_source(s->sae);
    if (of->output != point || (of->layer != layer && point_has_layer(point)) ||
        encode(p, s, &p->st)) {
        return;
    }
    replace(p, s, fork->run, sequence % prompts, rows, width);
}

/* --- a pass ----------------------------------------------------------------------------------- */

static void add_sequences(struct pass *p)
{
    const struct dark *d = p->d;
    for (size_t i = 0; i < (1 + p->n_forks) * d->n_prompts; i++) {
        size_t prompt = i % d->n_prompts;
        struct sequence *q = &p->sequences[i];
        q->ids = d->ids + d->first[prompt];
        q->n = d->first[prompt + 1] - d->first[prompt];
        if (i >= d->n_prompts) {
            size_t source = p->forks[i / d->n_prompts - 1].source;
            q->fork_layer = (size_t)sae_source(d->sources[source].sae)->layer;
            q->fork_of = prompt;
        }
    }
}

static void add_tap(struct pass *p, enum point point, int layer, size_t sequence, float *out)
{
    p->taps[p->n_taps++] =
        (struct tap){.point = point, .layer = layer, .sequence = sequence, .out = out};
}

static void add_taps(struct pass *p, float *resid)
{
    const struct dark *d = p->d;
    size_t D = p->weights->config->hidden_size, N = dark_tokens(d);
    for (size_t i = 0; i < (1 + p->n_forks) * d->n_prompts; i++) {
        size_t row = i / d->n_prompts * N + d->first[i % d->n_prompts];
        add_tap(p, POINT_FINAL_NORM, 0, i, p->final + row * D);
    }
    for (size_t prompt = 0; resid && prompt < d->n_prompts; prompt++) {
        size_t row = d->first[prompt];
        add_tap(p, POINT_RESID_POST, (int)p->weights->config->n_layers - 1, prompt,
                resid + row * D);
        for (size_t i = 0; i < d->n_sources; i++) {
            const struct dark_source *s = &d->sources[i];
            const struct sae_source *of = sae_source(s->sae);
            add_tap(p, of->input, of->layer, prompt, s->x + row * of->d_in);
            if (s->target != s->x) {
                add_tap(p, of->output, of->layer, prompt, s->target + row * of->d_out);
            }
            if (s->raw) {
                add_tap(p, POINT_ATTN_OUT_RAW, of->layer, prompt, s->raw + row * D);
            }
        }
    }
}

static int allocate_pass(struct pass *p, struct status *st)
{
    const struct dark *d = p->d;
    size_t D = p->weights->config->hidden_size, N = dark_tokens(d), widest = 1;
    size_t sequences = (1 + p->n_forks) * d->n_prompts;
    for (size_t i = 0; i < d->n_sources; i++) {
        size_t width = sae_source(d->sources[i].sae)->d_out;
        widest = width > widest ? width : widest;
    }
    p->sequences = memory_zalloc(sequences, sizeof *p->sequences);
    p->taps = memory_zalloc(sequences + d->n_prompts * (1 + 3 * d->n_sources), sizeof *p->taps);
    p->final = memory_alloc((1 + p->n_forks) * N * D, sizeof *p->final);
    p->mean = memory_alloc(widest, sizeof *p->mean);
    bool ok = p->sequences && p->taps && p->final && p->mean;
    return ok ? STATUS_OK : status_no_memory(st, (1 + p->n_forks) * N * D * sizeof *p->final);
}

/* resid: [N, D] to be filled by the first pass, with the sources' rows; NULL in later ones. */
static int run_pass(struct pass *p, struct forward *forward, float *resid,
                    const atomic_bool *cancel, struct status *st)
{
    int code = allocate_pass(p, st);
    if (!code) {
        add_sequences(p);
        add_taps(p, resid);
        const struct taps taps = {.taps = p->taps, .n = p->n_taps};
        const struct forward_hook hook = {.visit = visit, .user = p};
        code = forward_run(forward, p->sequences, (1 + p->n_forks) * p->d->n_prompts, &taps,
                           p->n_forks ? &hook : NULL, cancel, st);
    }
    if (!code && p->st.code) {
        *st = p->st;
        code = (int)st->code;
    }
    if (!code && (p->n_forks || resid)) {
        code = dark_compare(p->d, p->weights, p->threads, p->final, p->forks, p->n_forks,
                            resid != NULL, st);
    }
    memory_free(p->sequences);
    memory_free(p->taps);
    memory_free(p->final);
    memory_free(p->mean);
    return code;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* Every run of every source, by layer, as the forward pass wants its forks. */
static size_t list_forks(const struct dark *d, const struct weights *w, struct dark_fork *forks)
{
    size_t n = 0;
    for (size_t layer = 0; layer < w->config->n_layers; layer++) {
        for (size_t i = 0; i < d->n_sources; i++) {
            for (int run = 0; run < DARK_RUNS; run++) {
                if ((size_t)sae_source(d->sources[i].sae)->layer == layer && d->runs >> run & 1u) {
                    forks[n++] = (struct dark_fork){i, (enum dark_run)run};
                }
            }
        }
    }
    return n;
}

static int run_passes(struct dark *d, const struct weights *w, struct threads *threads,
                      struct forward *forward, const struct dark_fork *forks, size_t n_forks,
                      float *resid, const atomic_bool *cancel, struct status *st)
{
    size_t fit = d->max_rows / dark_tokens(d);
    size_t at_once = fit > 2 ? fit - 1 : 1;
    int code = STATUS_OK;
    size_t begin = 0;
    do {
        size_t n = n_forks - begin < at_once ? n_forks - begin : at_once;
        struct pass p = {
            .d = d, .weights = w, .threads = threads, .forks = forks + begin, .n_forks = n};
        code = run_pass(&p, forward, begin ? NULL : resid, cancel, st);
        begin += n;
    } while (begin < n_forks && !code);
    const struct pass rest = {.d = d, .weights = w, .threads = threads};
    for (size_t i = 0; i < d->n_sources && !code; i++) {
        (void)((code = encode(&rest, &d->sources[i], st)) ||
               (code = dark_measure(d, &d->sources[i], w, threads, resid, st)));
    }
    return code;
}

int dark_run(struct dark *d, const struct weights *w, struct threads *threads,
             struct forward *forward, const atomic_bool *cancel, struct status *st)
{
    size_t N = dark_tokens(d);
    size_t most = d->n_sources * DARK_RUNS;
    struct dark_fork *forks = memory_zalloc(most ? most : 1, sizeof *forks);
    float *resid = memory_alloc(N * w->config->hidden_size, sizeof *resid);
    int code = forks && resid ? allocate(d, w, st)
                              : status_no_memory(st, N * w->config->hidden_size * sizeof *resid);
    if (!code) {
        code =
            run_passes(d, w, threads, forward, forks, list_forks(d, w, forks), resid, cancel, st);
    }
    memory_free(forks);
    memory_free(resid);
    if (code) {
        dark_free(d);
    }
    return code;
}
