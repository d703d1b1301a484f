/* What an SAE leaves unexplained over a corpus: sums over the tokens of many prompts, in double.
 *
 * Tokens that dark.h calls kept (<bos>, <eos>, <pad>) are in no sum: not their errors, not what is
 * predicted at them, nor the prediction of one. The formulas: docs/model.md, "Dark matter". */
#ifndef DM_LENS_EVALUATION_H
#define DM_LENS_EVALUATION_H

#include "core/base/text.h"
#include "core/lens/dark.h"
#include "core/lens/linear.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The runs that an evaluation needs. */
#define EVALUATION_RUNS (1u << DARK_SPLICE | 1u << DARK_ZERO | 1u << DARK_MEAN)

/* Every fourth context is held out from the linear fit. */
#define EVALUATION_HOLD_OUT 4

enum {
    EVALUATION_ERROR_BINS = 60, /* of rel_err, 0.025 wide; the last one is open */
    EVALUATION_L0_BINS = 1025,  /* 0, 1, .. 1023, more */
    EVALUATION_WORST = 20,      /* contexts */
    EVALUATION_CONTEXT_MIN = 8  /* counted tokens of a context that can be among them */
};
#define EVALUATION_ERROR_WIDTH 0.025

struct evaluation_sums {
    double contexts, tokens, predictions;
    double l0, err2, xx, yy, xy; /* |err|^2, |x|^2, |y|^2, x . y, x being the target */
    double rel_err, cosine, l2_ratio, err_norm;
    double err_logit, precap; /* of the likeliest token: what err contributes, and all of it */
    double ce_clean, ce[DARK_RUNS], kl[DARK_RUNS];
};

/* A token of the vocabulary, as it was met. */
struct evaluation_token {
    uint32_t id, count;
    double rel_err, err2; /* sums */
};

struct evaluation_context {
    double rel_err; /* mean over its counted tokens */
    int64_t number, line;
    size_t n;
    int32_t *ids;    /* [n] */
    float *rel_errs; /* [n] NaN where not counted */
};

struct evaluation {
    size_t d_in, d_out, vocabulary, hidden;
    struct evaluation_sums sums;
    double *x;       /* [d_out] sums of the target */
    double *arrives; /* [hidden] sums of what err brings to the unembedding (dark.h) */
    bool leads;      /* there were such; else they and err_logit say nothing */
    uint64_t error_bins[EVALUATION_ERROR_BINS], l0_bins[EVALUATION_L0_BINS];
    struct evaluation_token *tokens;                   /* [vocabulary], by id */
    struct evaluation_context worst[EVALUATION_WORST]; /* falling by rel_err */
    size_t n_worst;
    struct linear linear; /* err and |err|^2 on what the source encodes */
};

int evaluation_create(struct evaluation **out, size_t d_in, size_t d_out, size_t vocabulary,
                      size_t hidden, struct status *st);
void evaluation_free(struct evaluation *evaluation); /* NULL is fine */

/* Counts every prompt of dark, which ran EVALUATION_RUNS, under its source number `source`. number
 * [n_prompts] of the corpus's contexts, line [n_prompts] where they begin. */
int evaluation_add(struct evaluation *evaluation, const struct dark *dark, size_t source,
                   const int64_t *number, const int64_t *line, struct threads *threads,
                   struct status *st);

/* NaN where there is no such number. */
struct evaluation_figures {
    double l0, mse, fvu, cosine, rel_err;
    double err_norm;             /* mean of |err| */
    double err_logit, err_share; /* mean contribution to the likeliest token's logit before the
                                    softcap; the sum of these over the sum of those logits */
    double l2_ratio;             /* mean of |y| / |x| */
    double bias;                 /* relative_reconstruction_bias: sum |y|^2 / sum x . y */
    double ce_clean, ce_splice, ce_zero, ce_mean;
    double kl_splice, kl_zero, kl_mean;
    double loss_recovered, loss_recovered_mean;
    double kl_recovered; /* (kl_zero - kl_splice) / kl_zero */
};
struct evaluation_figures evaluation_figures(const struct evaluation *evaluation);

/* Everything that was counted, appended as bytes, and back into a fresh evaluation of the same
 * sizes: STATUS_CORRUPT for other bytes. */
void evaluation_save(const struct evaluation *evaluation, struct text *out);
int evaluation_load(struct evaluation *evaluation, const void *bytes, size_t n, struct status *st);

#endif
