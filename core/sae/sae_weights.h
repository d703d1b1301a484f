/* The tensors of an SAE, whichever file holds them: params.npz, params.safetensors or
 * sae_weights.safetensors. Names compare without case (Gemma Scope 2 writes w_enc). */
#ifndef DM_SAE_SAE_WEIGHTS_H
#define DM_SAE_SAE_WEIGHTS_H

#include "core/base/status.h"
#include "core/formats/npz.h"
#include "core/formats/safetensors.h"
#include "core/formats/tensor.h"
#include "core/sae/sae_config.h"

#include <stdbool.h>
#include <stdint.h>

struct sae_weights {
    struct npz *npz; /* exactly one of the two is set while open */
    struct safetensors *safetensors;
};

/* A tensor that is not there has n_dims 0. S: d_sae. */
struct sae_tensors {
    struct tensor w_enc;   /* [d_in, S] */
    struct tensor w_dec;   /* [S, d_out] */
    struct tensor b_enc;   /* [S]; not in gated SAEs */
    struct tensor b_dec;   /* [d_out] */
    struct tensor thresh;  /* [S], jumprelu */
    struct tensor b_gate;  /* [S], gated, as the next two */
    struct tensor b_mag;   /* [S] */
    struct tensor r_mag;   /* [S] */
    struct tensor skip;    /* [d_in, d_out]; skip_transposed: SAELens's W_skip [d_out, d_in] */
    struct tensor scaling; /* [S], SAELens's scaling_factor */
    bool skip_transposed;
    bool log_threshold; /* thresh holds its logarithm (a training checkpoint) */
    uint64_t bytes;     /* of all that are there */
};

/* The name of the file in an SAE's folder. */
const char *sae_weights_file(enum sae_format format);

int sae_weights_open(struct sae_weights *weights, const char *path, struct status *st);
const char *sae_weights_path(const struct sae_weights *weights);
void sae_weights_release_pages(const struct sae_weights *weights);
enum mapped_state sae_weights_state(const struct sae_weights *weights); /* mapped_file.h */
int sae_weights_check(const struct sae_weights *weights, struct status *st);
void sae_weights_close(struct sae_weights *weights); /* safe on a zeroed struct */

/* d_in, d_out and d_sae as W_enc and W_dec have them; either of the three that config already has
 * must be the same. From headers alone. */
int sae_weights_sizes(struct sae_weights *weights, struct sae_config *config, struct status *st);

/* Finds what config's kind needs and checks each shape against its sizes. With `peek` data may be
 * NULL (nothing is inflated). */
int sae_weights_tensors(struct sae_weights *weights, const struct sae_config *config, bool peek,
                        struct sae_tensors *tensors, struct status *st);

#endif
