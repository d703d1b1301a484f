/* A pass: clean sequences, and behind them the forks that an SAE's site sends elsewhere. */
#include "core/base/memory.h"
#include "core/lens/dark_private.h"

#include <string.h>

/* --- the hook --------------------------------------------------------------------------------- */

int dark_encode(const struct dark_pass *p, struct dark_source *s, struct status *st)
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
static void replace(const struct dark_pass *p, const struct dark_source *s, enum dark_run run,
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
    struct dark_pass *p = user;
    size_t prompts = p->d->n_prompts;
    if (sequence < prompts || p->st.code) {
        return;
    }
    const struct dark_fork *fork = &p->forks[sequence / prompts - 1];
    struct dark_source *s = &p->d->sources[fork->source];
    const struct sae_source *of = sae_source(s->sae);
    if (of->output != point || (of->layer != layer && point_has_layer(point)) ||
        dark_encode(p, s, &p->st)) {
        return;
    }
    replace(p, s, fork->run, sequence % prompts, rows, width);
}

/* --- a pass ----------------------------------------------------------------------------------- */

static void add_sequences(struct dark_pass *p)
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

static void add_tap(struct dark_pass *p, enum point point, int layer, size_t sequence, float *out)
{
    p->taps[p->n_taps++] =
        (struct tap){.point = point, .layer = layer, .sequence = sequence, .out = out};
}

static void add_taps(struct dark_pass *p, float *resid)
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

static int allocate_pass(struct dark_pass *p, struct status *st)
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

void dark_pass_free(struct dark_pass *p)
{
    memory_free(p->sequences);
    memory_free(p->taps);
    memory_free(p->final);
    memory_free(p->mean);
    p->sequences = NULL;
    p->taps = NULL;
    p->final = p->mean = NULL;
}

int dark_pass_make(struct dark_pass *p, float *resid, struct pass_part *part, struct status *st)
{
    status_clear(&p->st);
    p->n_taps = 0;
    int code = allocate_pass(p, st);
    if (code) {
        dark_pass_free(p);
        return code;
    }
    add_sequences(p);
    add_taps(p, resid);
    *part = (struct pass_part){.sequences = p->sequences,
                               .n_sequences = (1 + p->n_forks) * p->d->n_prompts,
                               .taps = p->taps,
                               .n_taps = p->n_taps};
    if (p->n_forks) {
        part->hook = (struct forward_hook){.visit = visit, .user = p};
    }
    return STATUS_OK;
}
