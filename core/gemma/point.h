/* The points of the forward pass that can be read, by the names of docs/model.md (the same names
 * that POST /v1/trace takes; TransformerLens's and Hugging Face's spellings stand beside them
 * there).
 *
 * T tokens, D hidden size, H heads, G key/value heads, K head size, F feed-forward size, V
 * vocabulary. */
#ifndef DM_GEMMA_POINT_H
#define DM_GEMMA_POINT_H

#include <stdbool.h>
#include <stddef.h>

enum point {
    POINT_EMBED,          /* [T, D] after the scaling by sqrt(D) */
    POINT_RESID_PRE,      /* [T, D] what the layer reads */
    POINT_ATTN_IN,        /* [T, D] after input_layernorm */
    POINT_Q,              /* [T, H, K] after qk-norm (Gemma 3) and RoPE, before the scale */
    POINT_K,              /* [T, G, K] likewise */
    POINT_V,              /* [T, G, K] */
    POINT_SCORES,         /* [H, T, T] scaled and soft-capped, before the mask */
    POINT_PATTERN,        /* [H, T, T] after the softmax; rows add to 1 */
    POINT_Z,              /* [T, H*K] concatenated heads: o_proj's input */
    POINT_ATTN_OUT_RAW,   /* [T, D] o_proj's output */
    POINT_ATTN_OUT,       /* [T, D] after post_attention_layernorm: what is added */
    POINT_RESID_MID,      /* [T, D] */
    POINT_MLP_IN_PREGAIN, /* [T, D] resid_mid over its rms, without the norm's gain */
    POINT_MLP_IN,         /* [T, D] after pre_feedforward_layernorm */
    POINT_MLP_GATE,       /* [T, F] gelu(gate) */
    POINT_NEURONS,        /* [T, F] gelu(gate) * up: down_proj's input */
    POINT_MLP_OUT_RAW,    /* [T, D] down_proj's output */
    POINT_MLP_OUT,        /* [T, D] after post_feedforward_layernorm: what is added */
    POINT_RESID_POST,     /* [T, D] what the layer leaves */
    POINT_FINAL_NORM,     /* [T, D] no layer */
    POINT_LOGITS,         /* [T, V] after the final softcap, no layer */
    POINT_LOSS,           /* [T-1] cross-entropy of token t+1 given the logits at t, no layer */
    POINT_COUNT
};

/* "resid_post"; the layer is written behind it by whoever prints a full name. */
const char *point_name(enum point point);

/* False if there is no such point. */
bool point_find(const char *name, size_t length, enum point *point);

/* embed, final_norm, logits and loss belong to the model, all others to a layer. */
bool point_has_layer(enum point point);

/* Numbers that a token has at the point: D, H*K, F, ...; scores, pattern and loss have no such row.
 */
struct gemma_config;
size_t point_width(const struct gemma_config *config, enum point point);

#endif
