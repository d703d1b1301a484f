/* The request's room, and the steps that fill it. */
#include "core/lens/dark.h"

#include "core/base/memory.h"
#include "core/lens/dark_private.h"

#include <math.h>
#include <string.h>

enum stage { PASS, COMPARE, MEASURE, VOTES, DONE };

struct dark_steps {
    struct dark_pass pass;   /* the one under way, or the last */
    struct dark_fork *forks; /* [n_forks] by layer */
    size_t n_forks, next;    /* the first of the pass */
    float *resid;            /* [N, D] the last layer's resid_post */
    enum stage stage;
    size_t token, source;
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
    s->arrives = memory_alloc(N * w->config->hidden_size, sizeof *s->arrives);
    s->vote_ids = d->top ? memory_zalloc(2 * N * d->top, sizeof *s->vote_ids) : NULL;
    s->votes = d->top ? memory_zalloc(2 * N * d->top, sizeof *s->votes) : NULL;
    if (!s->block || !s->x || !s->target || !s->recon || !s->arrives ||
        (of->output == POINT_Z && !s->raw) || (d->top && (!s->vote_ids || !s->votes))) {
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
    memory_free(s->arrives);
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

/* --- steps ------------------------------------------------------------------------------------ */

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

void dark_end(struct dark_steps *steps)
{
    if (steps) {
        dark_pass_free(&steps->pass);
        memory_free(steps->forks);
        memory_free(steps->resid);
        memory_free(steps);
    }
}

/* The forks of the next pass: as many as fit. */
static void set_forks(struct dark_steps *steps)
{
    struct dark_pass *p = &steps->pass;
    size_t fit = p->d->max_rows / dark_tokens(p->d);
    size_t at_once = fit > 2 ? fit - 1 : 1, left = steps->n_forks - steps->next;
    p->forks = steps->forks + steps->next;
    p->n_forks = left < at_once ? left : at_once;
    steps->stage = PASS;
}

int dark_begin(struct dark_steps **out, struct dark *d, const struct weights *w,
               struct threads *threads, struct status *st)
{
    size_t floats = dark_tokens(d) * w->config->hidden_size;
    struct dark_steps *steps = memory_zalloc(1, sizeof *steps);
    *out = NULL;
    if (!steps) {
        return status_no_memory(st, sizeof *steps);
    }
    steps->pass = (struct dark_pass){.d = d, .weights = w, .threads = threads};
    steps->forks = memory_zalloc(d->n_sources * DARK_RUNS, sizeof *steps->forks);
    steps->resid = memory_alloc(floats, sizeof *steps->resid);
    int code = steps->forks && steps->resid ? allocate(d, w, st)
                                            : status_no_memory(st, floats * sizeof(float));
    if (code) {
        dark_end(steps);
        return code;
    }
    steps->n_forks = list_forks(d, w, steps->forks);
    set_forks(steps);
    *out = steps;
    return STATUS_OK;
}

size_t dark_rows(const struct dark_steps *steps)
{
    return steps->stage == PASS ? (1 + steps->pass.n_forks) * dark_tokens(steps->pass.d) : 0;
}

int dark_prepare(struct dark_steps *steps, struct pass_part *part, struct status *st)
{
    if (steps->stage != PASS) {
        return STATUS_OK;
    }
    dark_pass_free(&steps->pass);
    return dark_pass_make(&steps->pass, steps->next ? NULL : steps->resid, part, st);
}

static int compare(struct dark_steps *steps, struct status *st)
{
    struct dark_pass *p = &steps->pass;
    size_t n = 0;
    int code = dark_compare(p, steps->next == 0, steps->token, &n, st);
    steps->token += n;
    if (!code && steps->token == dark_tokens(p->d)) {
        steps->next += p->n_forks;
        steps->stage = MEASURE;
        if (steps->next < steps->n_forks) {
            set_forks(steps);
        }
    }
    return code;
}

static void next_source(struct dark_steps *steps)
{
    steps->source++;
    steps->stage = steps->source < steps->pass.d->n_sources ? MEASURE : DONE;
}

static int measure(struct dark_steps *steps, struct status *st)
{
    struct dark_pass *p = &steps->pass;
    if (steps->source == p->d->n_sources) {
        steps->stage = DONE;
        return STATUS_OK;
    }
    struct dark_source *s = &p->d->sources[steps->source];
    int code = dark_encode(p, s, st);
    code = code ? code : dark_measure(p, s, steps->resid, st);
    if (!code && s->leads && p->d->top) {
        steps->stage = VOTES;
        steps->token = 0;
    } else if (!code) {
        next_source(steps);
    }
    return code;
}

static int rank(struct dark_steps *steps, struct status *st)
{
    struct dark_pass *p = &steps->pass;
    int code = dark_rank(p, &p->d->sources[steps->source], steps->token, st);
    steps->token += DARK_LOGIT_ROWS;
    if (!code && steps->token >= dark_tokens(p->d)) {
        next_source(steps);
    }
    return code;
}

int dark_finish(struct dark_steps *steps, bool *more, struct status *st)
{
    struct dark_pass *p = &steps->pass;
    int code = STATUS_OK;
    if (steps->stage == PASS) {
        steps->stage = COMPARE;
        steps->token = 0;
        code = (int)p->st.code;
        if (code) {
            *st = p->st;
        }
    }
    if (!code) {
        code = steps->stage == COMPARE   ? compare(steps, st)
               : steps->stage == MEASURE ? measure(steps, st)
                                         : rank(steps, st);
    }
    *more = !code && steps->stage != DONE;
    return code;
}
