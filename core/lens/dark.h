/* Dark matter: what an SAE leaves unexplained, token by token, and what the model says without it.
 *
 * x is a row of the site (mlp_out for a transcoder), err = x - recon. A run puts something else in
 * the place of x and lets the rest of the model go on from there (docs/model.md, "Dark matter";
 * tests/fixtures/oracle/README.md, section f):
 *
 *     SPLICE          recon                      SPLICE_KEEP_BOS  the same, position 0 stays
 *     ZERO            0                          MEAN             m, the mean of x over the prompt
 *     ERROR_ONLY      err                                         without position 0
 *
 * All runs of all prompts and sources are sequences of one packed pass. A run begins in the layer
 * of its SAE, with the rows that the clean sequence has there, and each SAE encodes each row once.
 *
 * The work is done in steps, so that others have their turns between them: a pass, then products of
 * DARK_LOGIT_ROWS rows at a time with the unembedding. */
#ifndef DM_LENS_DARK_H
#define DM_LENS_DARK_H

#include "core/gemma/pass.h"
#include "core/gemma/weights.h"
#include "core/sae/sae.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dark_run {
    DARK_SPLICE,
    DARK_SPLICE_KEEP_BOS,
    DARK_ZERO,
    DARK_MEAN,
    DARK_ERROR_ONLY,
    DARK_RUNS
};

const char *dark_run_name(enum dark_run run); /* "splice_keep_bos" */

/* Of one source, for the N tokens of all prompts. Whatever has no value is NaN. */
struct dark_source {
    struct sae *sae; /* borrowed; NULL behind the engine boundary */
    size_t d_in, d_out;
    float *x;               /* [N, d_in] what it encoded */
    float *target;          /* [N, d_out] x itself unless the source is a transcoder */
    float *recon;           /* [N, d_out] */
    struct sparse features; /* N rows */
    float *err_norm;        /* [N] |err| */
    float *rel_err;         /* [N] |err| / |x| */
    float *cosine;          /* [N] of x and recon */
    float *fvu_token;       /* [N] |err|^2 / |x - m|^2 */
    bool leads;             /* the site leads to the residual stream; else there are no votes,
                               and err_logit and err_share are NaN */
    float *arrives;       /* [N, D] err as it comes to the unembedding, norms frozen, if it leads */
    float *err_logit;     /* [N] what err contributes to the logit of argmax: U . arrives */
    float *err_share;     /* [N] err_logit / argmax_precap */
    float *kl[DARK_RUNS]; /* [N] KL(clean || run) in nats; NULL: not asked for */
    float *loss[DARK_RUNS]; /* [N] of token t+1 given the logits at t; the last of a prompt: NaN */
    int32_t *vote_ids;      /* [N, 2, top] what err promotes, then what it suppresses most */
    float *votes;           /* [N, 2, top] contributions to logits before the softcap */
    float *raw;             /* [N, D] attn_out_raw, for sources on z */
    float *block;           /* owns the arrays of [N] */
};

/* The first part is the request, its arrays borrowed; the steps fill the second one, dark_free
 * frees it. */
struct dark {
    const int32_t *ids;  /* [N] of all prompts, one behind the other */
    const size_t *first; /* [n_prompts + 1] where each begins; first[n_prompts] = N */
    size_t n_prompts;
    const bool *kept; /* [N] rows that every run leaves as they are, and no mean counts; NULL:
                         none */
    unsigned runs;    /* bits 1 << run */
    size_t top;       /* votes of each kind; 0: none */
    size_t max_rows;  /* of a pass; runs that do not fit have another one */
    struct dark_source *sources; /* [n_sources] with their saes */
    size_t n_sources;

    int32_t *argmax;      /* [N] id of the largest logit; ties to the lower id */
    float *argmax_precap; /* [N] that logit before the softcap */
    float *loss_clean;    /* [N] as loss above */
};

#define DARK_LOGIT_ROWS 48

/* What is done to a request, which it borrows like weights and threads. The saes must be there from
 * here on. After an error in any step there is nothing left but dark_end. */
struct dark_steps;
int dark_begin(struct dark_steps **out, struct dark *dark, const struct weights *weights,
               struct threads *threads, struct status *st);

/* The pass of the next step; a step without one leaves *part as it is. May be called again where
 * the pass has failed. */
int dark_prepare(struct dark_steps *steps, struct pass_part *part, struct status *st);

/* The rest of the step. *more is false after the last, when dark is filled. */
int dark_finish(struct dark_steps *steps, bool *more, struct status *st);
size_t dark_rows(const struct dark_steps *steps); /* of the next step's pass */
void dark_end(struct dark_steps *steps);          /* NULL is fine */

/* What was filled; the request stays. */
void dark_free(struct dark *dark);

/* What the tokens of one prompt come to under one source; NaN where there is no such thing. */
struct dark_totals {
    double mean_l0, mean_l0_skip_first; /* skip_first: without position 0 */
    double fvu_skip_first;              /* sum |err|^2 / sum |x - m|^2 */
    double ce_clean, ce[DARK_RUNS];     /* mean losses */
    double kl_mean[DARK_RUNS], kl_mean_skip_first[DARK_RUNS];
    double loss_recovered;      /* of splice, against zero */
    double loss_recovered_mean; /* against mean */
};
int dark_totals(const struct dark *dark, size_t source, size_t prompt, struct dark_totals *out,
                struct status *st);

/* (ablated - run) / (ablated - clean); NaN where the ablation costs less than 0.05 nats. */
double dark_recovered(double clean, double run, double ablated);

#endif
