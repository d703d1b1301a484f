/* Between the parts of sae.c: sae_open.c opens, sae_encode.c encodes, sae.c decodes and compares.
 */
#ifndef DM_SAE_SAE_PRIVATE_H
#define DM_SAE_SAE_PRIVATE_H

#include "core/sae/sae.h"
#include "core/sae/sae_config.h"
#include "core/sae/sae_weights.h"

struct sae {
    const struct sae_source *source;
    struct sae_config config;
    struct sae_weights weights;
    struct tensor w_enc; /* [d_in, d_sae], in the file */
    struct tensor w_dec; /* [d_sae, d_out], in the file */
    struct tensor skip;  /* [d_in, d_out], n_dims 0: none */
    /* Owned, widened; S: d_sae. Those that a kind lacks are NULL. */
    float *b_dec;         /* [d_out] */
    float *b_enc;         /* [S]; gated: b_gate */
    float *threshold;     /* [S] */
    float *b_mag;         /* [S] gated */
    float *mag_scale;     /* [S] gated: exp(r_mag) */
    float *feature_scale; /* [S] SAELens's scaling_factor */
    float *decoder_norm;  /* [S] |W_dec row|, topk with rescale_acts_by_decoder_norm */
    float *skip_turned;   /* [d_in, d_out] SAELens's W_skip, transposed */
    struct hash identity;
    uint64_t bytes;
};

/* Rows of a norm or a bias are prepared one after the other: x [rows, d_in] -> out [rows, d_in]. */
void sae_prepare(const struct sae *sae, const float *x, size_t rows, float *out);

/* out [d_out], a reconstruction in the normed space of x [d_in] -> in x's own. */
void sae_restore(const struct sae *sae, const float *x, float *out);

#endif
