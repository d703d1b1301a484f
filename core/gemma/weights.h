/* The model's weights: views into the mapped checkpoint, and the norms' gains as 1 + w in fp32.
 *
 * Tensor names and shapes: docs/model.md ("Checkpoint files"). Prefixes model.,
 * language_model.model. and model.language_model. are all met in the wild. */
#ifndef DM_GEMMA_WEIGHTS_H
#define DM_GEMMA_WEIGHTS_H

#include "core/base/hash.h"
#include "core/base/status.h"
#include "core/formats/model_folder.h"
#include "core/gemma/config.h"
#include "core/math/precision.h"

/* D hidden, H heads, G kv heads, K head size, F feed-forward, V vocabulary. Linear layers are
 * [out, in]; gains are fp32. */
struct layer_weights {
    struct tensor q_proj;         /* [H*K, D] */
    struct tensor k_proj;         /* [G*K, D] */
    struct tensor v_proj;         /* [G*K, D] */
    struct tensor o_proj;         /* [D, H*K] */
    struct tensor gate_proj;      /* [F, D] */
    struct tensor up_proj;        /* [F, D] */
    struct tensor down_proj;      /* [D, F] */
    float *input_gain;            /* [D] input_layernorm */
    float *post_attention_gain;   /* [D] post_attention_layernorm, on the attention's OUTPUT */
    float *pre_feedforward_gain;  /* [D] */
    float *post_feedforward_gain; /* [D] */
    float *q_gain, *k_gain;       /* [K], Gemma 3; NULL for Gemma 2 */
};

struct weights {
    const struct gemma_config *config; /* borrowed */
    struct tensor embedding;           /* [V, D], unscaled */
    struct tensor unembedding;         /* [V, D], the same tensor where tied */
    float *final_gain;                 /* [D] */
    float embed_scale;                 /* what embeddings are multiplied by */
    enum precision precision;          /* how rows are multiplied with the matrices */
    struct layer_weights *layers;      /* [L] */
    float *gains;                      /* [n_gains] owns every gain above */
    size_t n_gains;
};

/* folder and config must outlive the weights. A tensor that is missing or has another shape is
 * STATUS_CORRUPT with file, tensor, expected, found. */
int weights_open(struct weights *weights, const struct model_folder *folder,
                 const struct gemma_config *config, float embed_scale, enum precision precision,
                 struct status *st);
void weights_close(struct weights *weights);

/* Matrix i in the order in which a pass reads them, the unembedding last; NULL behind it. */
const struct tensor *weights_matrix(const struct weights *weights, size_t i);

/* Hash of every matrix's type, shape and samples of its contents, and of every gain. */
struct hash weights_identity(const struct weights *weights);

#endif
