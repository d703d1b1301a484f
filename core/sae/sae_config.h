/* What is written beside an SAE's tensors: SAELens's cfg.json (of version 6 and before) and Gemma
 * Scope 2's config.json; and TransformerLens's names of the points that both speak of.
 *
 * Only the words are read here. Shapes come from the tensors (sae_weights.h), and whoever has both
 * compares them. */
#ifndef DM_SAE_SAE_CONFIG_H
#define DM_SAE_SAE_CONFIG_H

#include "core/base/status.h"
#include "core/gemma/point.h"
#include "core/sae/catalogue.h"

#include <stdbool.h>
#include <stddef.h>

#define SAE_CONFIG_LIMIT (1u << 20) /* bytes of a config file */

enum sae_norm {
    SAE_NORM_NONE,
    SAE_NORM_LAYER,   /* (x - mean) / (std + 1e-5), std of n-1; the output times std plus mean */
    SAE_NORM_CONSTANT /* x sqrt(d_in) / |x|; the output divided by the same */
};

struct sae_config {
    enum sae_architecture architecture;
    enum sae_norm norm;
    enum point input, output;
    int layer; /* 0 for embed */
    bool is_transcoder;
    bool has_skip;                /* a linear map from the input to the output */
    bool subtracts_b_dec;         /* from the input, before encoding */
    bool rescales_by_decoder;     /* topk: pre times |W_dec row|, divided out again in decode */
    bool scales_features;         /* f_j *= scaling_factor_j (SAELens's finetuning) */
    bool must_have_threshold;     /* batchtopk: a training checkpoint has none */
    size_t k;                     /* topk */
    size_t d_in, d_out, d_sae;    /* 0 where the file does not say */
    char neuronpedia_source[128]; /* what follows the slash in neuronpedia_id, or "" */
    char l0[24];                  /* or "" */
};

/* cfg.json. Kinds that cannot be run are STATUS_UNSUPPORTED with the reason; `name` (the path)
 * begins every message. */
int sae_config_saelens(struct sae_config *config, const char *json, size_t n, const char *name,
                       struct status *st);

/* config.json of Gemma Scope 2. */
int sae_config_scope2(struct sae_config *config, const char *json, size_t n, const char *name,
                      struct status *st);

/* The same from files. */
int sae_config_open_saelens(struct sae_config *config, const char *path, struct status *st);
int sae_config_open_scope2(struct sae_config *config, const char *path, struct status *st);

/* "blocks.20.hook_resid_post" and its kin; false if it is not a point that SAEs can read. */
bool sae_config_find_hook(const char *hook, enum point *point, int *layer);

/* The other way round, into buffer; returns buffer. */
const char *sae_config_hook(enum point point, int layer, char *buffer, size_t size);

#endif
