/* config.json of Gemma 2 and Gemma 3 (text), in every shape the hub has them: flat or nested under
 * text_config with defaults left out, rope_theta or rope_parameters, layer_types or a pattern,
 * eos_token_id a number or a list (transformers' Gemma2Config, Gemma3TextConfig). */
#ifndef DM_GEMMA_CONFIG_H
#define DM_GEMMA_CONFIG_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_LAYERS_MAX 256
#define CONFIG_EOS_MAX 8

struct gemma_config {
    int family;               /* 2 or 3 */
    size_t vocab_size;        /* V: rows of the embedding */
    size_t hidden_size;       /* D */
    size_t intermediate_size; /* F */
    size_t n_layers;          /* L */
    size_t n_heads;           /* H */
    size_t n_kv_heads;        /* G; H is a multiple of it */
    size_t head_dim;          /* K, even */
    size_t max_positions;     /* max_position_embeddings */
    size_t sliding_window;    /* keys a local layer sees, the token itself among them */
    float rms_norm_eps;
    float attention_scale;   /* query_pre_attn_scalar ^ -0.5 */
    float attention_softcap; /* 0: none */
    float final_softcap;     /* 0: none */
    bool tied_embeddings;
    bool local[CONFIG_LAYERS_MAX]; /* true: sliding window, false: full attention */
    /* Per kind of layer, [0] full and [1] local: */
    float rope_theta[2];
    float rope_factor[2];            /* linear scaling: positions are divided by it; 1: none */
    int32_t bos_id, pad_id;          /* -1 where absent */
    int32_t eos_ids[CONFIG_EOS_MAX]; /* from config.json */
    size_t n_eos;
    bool is_multimodal; /* nested: Gemma3ForConditionalGeneration */
    char note[200];     /* something the user should know ("" if nothing), e.g. an old 9b scale */
};

/* name (the path) begins every message; a value out of range or of an unknown kind is refused with
 * field, expected and found. */
int config_parse(struct gemma_config *config, const char *json, size_t n, const char *name,
                 struct status *st);
int config_open(struct gemma_config *config, const char *path, struct status *st);

#endif
